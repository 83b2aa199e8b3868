package main

import (
	"fmt"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// expressions are one entry of a Kustomization's healthCheckExprs.
type expressions struct {
	InProgress string `json:"inProgress"`
	Failed     string `json:"failed"`
	Current    string `json:"current"`
}

// judge asks in the order of Flux's RFC 0009: another generation, inProgress, failed, current.
func (e *expressions) judge(object map[string]any) (status.Status, error) {
	observed, there, err := unstructured.NestedInt64(object, "status", "observedGeneration")
	if err != nil {
		return "", err
	}
	generation, _, err := unstructured.NestedInt64(object, "metadata", "generation")
	if err != nil {
		return "", err
	}
	if there && observed != generation {
		return status.InProgressStatus, nil
	}
	for _, question := range []struct {
		text string
		yes  status.Status
	}{
		{e.InProgress, status.InProgressStatus},
		{e.Failed, status.FailedStatus},
		{e.Current, status.CurrentStatus},
	} {
		if question.text == "" {
			continue
		}
		holds, err := evaluate(question.text, object)
		if err != nil {
			return "", err
		}
		if holds {
			return question.yes, nil
		}
	}
	return status.InProgressStatus, nil
}

// evaluate runs an expression with the options and libraries that Flux gives it (the package
// runtime/cel of github.com/fluxcd/pkg): parsed only, because an object's fields are not declared.
func evaluate(text string, object map[string]any) (bool, error) {
	environment, err := cel.NewEnv(
		cel.HomogeneousAggregateLiterals(),
		cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		ext.Strings(),
		ext.Sets(),
		ext.Encoders(),
	)
	if err != nil {
		return false, err
	}
	parsed, issues := environment.Parse(text)
	if issues.Err() != nil {
		return false, issues.Err()
	}
	program, err := environment.Program(parsed, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return false, err
	}
	value, _, err := program.Eval(object)
	if err != nil {
		return false, err
	}
	holds, ok := value.(types.Bool)
	if !ok {
		return false, fmt.Errorf("%q is not true or false", text)
	}
	return bool(holds), nil
}

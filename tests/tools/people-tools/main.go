// Asks the tools that people have what they make of our small files.
//
// It reads one request as JSON: a ConfigMap of Argo CD's notifications with an Application, an Alert
// or a Provider of Flux, or a document with the JSON schema that it has to fit; and writes one answer.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/argoproj/notifications-engine/pkg/api"
	"github.com/argoproj/notifications-engine/pkg/services"
	"github.com/fluxcd/notification-controller/api/v1beta3"
	"github.com/xeipuuv/gojsonschema"
	v1 "k8s.io/api/core/v1"
)

type request struct {
	ConfigMap   *v1.ConfigMap  `json:"configMap"`
	Trigger     string         `json:"trigger"`
	Application map[string]any `json:"application"`
	Document    any            `json:"document"`
	Schema      string         `json:"schema"`
	// Flux's objects, as JSON.
	Alert    json.RawMessage `json:"alert"`
	Provider json.RawMessage `json:"provider"`
}

type answer struct {
	Triggered bool     `json:"triggered"`
	OncePer   string   `json:"oncePer"`
	Messages  []string `json:"messages"`
	Problems  []string `json:"problems"`
}

func main() {
	var asked request
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		fail(err)
	}
	answers, err := asked.answer()
	if err != nil {
		fail(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		fail(err)
	}
}

func (r *request) answer() (*answer, error) {
	if r.Alert != nil {
		return reads(r.Alert, &v1beta3.Alert{})
	}
	if r.Provider != nil {
		return reads(r.Provider, &v1beta3.Provider{})
	}
	if r.ConfigMap == nil {
		return fits(r.Schema, r.Document)
	}
	config, err := api.ParseConfig(r.ConfigMap, &v1.Secret{})
	if err != nil {
		return nil, err
	}
	vars := func(obj map[string]any, _ services.Destination) map[string]any {
		return map[string]any{"app": obj, "context": map[string]any{"argocdUrl": "https://argocd"}}
	}
	notifier, err := api.NewAPI(*config, vars)
	if err != nil {
		return nil, err
	}
	results, err := notifier.RunTrigger(r.Trigger, r.Application)
	if err != nil {
		return nil, err
	}
	found := &answer{}
	for _, result := range results {
		found.Triggered = found.Triggered || result.Triggered
		found.OncePer = result.OncePer
		for _, name := range result.Templates {
			notification := config.Templates[name]
			templater, err := notification.GetTemplater(name, nil)
			if err != nil {
				return nil, err
			}
			message := &services.Notification{}
			if err := templater(message, vars(r.Application, services.Destination{})); err != nil {
				return nil, err
			}
			found.Messages = append(found.Messages, message.Message)
		}
	}
	return found, nil
}

// reads an object as Flux's own types are, where a field that they do not have is a problem.
func reads(text json.RawMessage, object any) (*answer, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	found := &answer{}
	if err := decoder.Decode(object); err != nil {
		found.Problems = append(found.Problems, err.Error())
	}
	return found, nil
}

func fits(schema string, document any) (*answer, error) {
	text, err := os.ReadFile(schema)
	if err != nil {
		return nil, err
	}
	result, err := gojsonschema.Validate(
		gojsonschema.NewBytesLoader(text), gojsonschema.NewGoLoader(document))
	if err != nil {
		return nil, err
	}
	found := &answer{}
	for _, problem := range result.Errors() {
		found.Problems = append(found.Problems, problem.String())
	}
	return found, nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A judge for the tests: what kstatus (the library behind Flux), Flux's expressions and Argo CD's
// Lua make of an object. It reads requests as JSON, one a line, and answers each with a line of JSON.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type request struct {
	Object map[string]any `json:"object"`
	// Lua is the script to run; without it and Exprs, kstatus judges.
	Lua string `json:"lua"`
	// Exprs are Flux's healthCheckExprs for the object's kind.
	Exprs *expressions `json:"exprs"`
}

type answer struct {
	Status  string `json:"status,omitempty"`
	Message string `json:"message,omitempty"`
	Result  any    `json:"result,omitempty"`
	Error   string `json:"error,omitempty"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		if err := out.Encode(judge(lines.Bytes())); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func judge(line []byte) answer {
	var asked request
	if err := json.Unmarshal(line, &asked); err != nil {
		return answer{Error: err.Error()}
	}
	if asked.Lua != "" {
		return runLua(asked)
	}
	if asked.Exprs != nil {
		verdict, err := asked.Exprs.judge(whole(asked.Object))
		if err != nil {
			return answer{Error: err.Error()}
		}
		return answer{Status: verdict.String()}
	}
	result, err := status.Compute(&unstructured.Unstructured{Object: whole(asked.Object)})
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Status: result.Status.String(), Message: result.Message}
}

// whole turns JSON's floats into the integers that unstructured objects hold.
func whole(object map[string]any) map[string]any {
	data, _ := json.Marshal(object)
	parsed := &unstructured.Unstructured{}
	if err := parsed.UnmarshalJSON(data); err != nil {
		return object
	}
	return parsed.Object
}

// runLua runs a script in a VM as bare as Argo CD's: no more than the base and table libraries
// and, of the operating system, the time of day.
func runLua(asked request) answer {
	vm := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer vm.Close()
	// In this order: `require` finds only what is opened after the package library.
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage},
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
		{lua.OsLibName, openSafeOs},
	} {
		call := lua.P{Fn: vm.NewFunction(library.open), Protect: true}
		if err := vm.CallByParam(call, lua.LString(library.name)); err != nil {
			return answer{Error: err.Error()}
		}
	}
	data, _ := json.Marshal(whole(asked.Object))
	object, err := luajson.Decode(vm, data)
	if err != nil {
		return answer{Error: err.Error()}
	}
	vm.SetGlobal("obj", object)
	if err := vm.DoString(asked.Lua); err != nil {
		return answer{Error: err.Error()}
	}
	encoded, err := luajson.Encode(vm.Get(-1))
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Result: json.RawMessage(encoded)}
}

func openSafeOs(vm *lua.LState) int {
	full := vm.NewTable()
	lua.OpenOs(vm)
	if table, ok := vm.Get(-1).(*lua.LTable); ok {
		for _, name := range []string{"time", "date"} {
			full.RawSetString(name, table.RawGetString(name))
		}
	}
	vm.SetGlobal("os", full)
	if loaded, ok := vm.GetField(vm.Get(lua.RegistryIndex), "_LOADED").(*lua.LTable); ok {
		loaded.RawSetString("os", full)
	}
	vm.Push(full)
	return 1
}

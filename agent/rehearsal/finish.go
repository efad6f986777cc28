// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"reflect"

	"torchbearer/agent/rulebook"
	"torchbearer/agent/status"
	"torchbearer/config"
)

// maxText bounds each text of a report.
const maxText = 2000

// finish makes a report fit to be shown: no nil lists, since JSON has no other
// way to say that there is nothing; no secrets; nothing that steers a terminal.
func finish(r *status.Report) { finishValue(reflect.ValueOf(r).Elem()) }

func finishValue(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(rulebook.Clip(config.HideSecrets(v.String()), maxText))
	case reflect.Struct:
		for _, field := range v.Fields() {
			if field.CanSet() {
				finishValue(field)
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			finishValue(v.Elem())
		}
	case reflect.Slice:
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		for i := range v.Len() {
			finishValue(v.Index(i))
		}
	case reflect.Map:
		finished := reflect.MakeMap(v.Type())
		for it := v.MapRange(); it.Next(); {
			item := reflect.New(v.Type().Elem()).Elem()
			item.Set(it.Value())
			finishValue(item)
			finished.SetMapIndex(it.Key(), item)
		}
		v.Set(finished)
	default:
	}
}

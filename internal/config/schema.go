package config

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
)

// object is a JSON object of the schema.
type object map[string]any

// Schema is the JSON Schema (draft 2020-12) of the documents, for editors. It is made from the types, their
// comments and the rules that the loader enforces; it tells everything about a document that can be said without knowing
// the others.
func Schema() ([]byte, error) {
	comments, err := readComments()
	if err != nil {
		return nil, err
	}
	g := &schemaMaker{comments: comments, defs: object{}}
	g.define(reflect.TypeFor[Cluster]())
	g.define(reflect.TypeFor[Stack]())
	when := func(kind string) object {
		return object{
			"if":   object{"properties": object{"kind": object{"const": kind}}},
			"then": object{"$ref": "#/$defs/" + kind},
		}
	}
	return json.MarshalIndent(object{
		"$schema":    "https://json-schema.org/draft/2020-12/schema",
		"$id":        "https://rekindle.dev/schema/v1alpha1.json",
		"title":      "rekindle " + APIVersion,
		"type":       "object",
		"required":   []string{"apiVersion", "kind"},
		"properties": object{"apiVersion": object{"const": APIVersion}, "kind": object{"enum": []string{"Cluster", "Stack"}}},
		"allOf":      []object{when("Cluster"), when("Stack")},
		"$defs":      g.defs,
	}, "", "  ")
}

type schemaMaker struct {
	comments comments
	defs     object
}

// define adds the schema of a struct, once, and gives a reference to it.
func (g *schemaMaker) define(t reflect.Type) object {
	ref := object{"$ref": "#/$defs/" + t.Name()}
	if _, done := g.defs[t.Name()]; done {
		return ref
	}
	def := object{"type": "object", "description": asWritten(t, g.comments.ofType(t.Name())), "additionalProperties": false}
	g.defs[t.Name()] = def
	properties, required := object{}, []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		if isRequired(f) {
			required = append(required, jsonName(f))
		}
		p := g.of(f.Type, ruleOf(t.Name(), f.Name))
		p["description"] = asWritten(t, g.comments.ofField(t.Name(), f.Name))
		properties[jsonName(f)] = p
	}
	def["properties"] = properties
	u := unionOf(t.Name())
	if len(required) > 0 {
		def["required"] = required
	} else if !u.required {
		def["type"] = []string{"object", "null"}
	}
	switch {
	case u.required:
		def["oneOf"] = alone(u.members)
	case len(u.members) > 0:
		def["not"] = object{"type": "object", "anyOf": pairs(u.members)}
	}
	switch t {
	case reflect.TypeFor[Cluster](), reflect.TypeFor[Stack]():
		properties["apiVersion"].(object)["const"] = APIVersion
		properties["kind"].(object)["const"] = t.Name()
	}
	return ref
}

// alone says that one member is written, for a oneOf.
func alone(members []string) []object {
	var all []object
	for _, m := range members {
		all = append(all, object{"required": []string{m}})
	}
	return all
}

// pairs says that two members are written.
func pairs(members []string) []object {
	var all []object
	for i, m := range members {
		for _, other := range members[i+1:] {
			all = append(all, object{"required": []string{m, other}})
		}
	}
	return all
}

// of gives the schema of a value with a rule.
func (g *schemaMaker) of(t reflect.Type, r rule) object {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[Duration]():
		written := object{"pattern": `^\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`}
		return object{"type": "string", "anyOf": orVariable(object{"allOf": []object{written, {"pattern": "[1-9]"}}})}
	case t.Kind() == reflect.Struct:
		return g.define(t)
	case t.Kind() == reflect.Map:
		o := container("object", "minProperties", r)
		o["additionalProperties"] = g.of(t.Elem(), r.elements())
		if r.keys != nil {
			o["propertyNames"] = object{"pattern": portable(r.keys)}
		}
		return o
	case t.Kind() == reflect.Slice:
		o := container("array", "minItems", r)
		o["items"] = g.of(t.Elem(), r.elements())
		return o
	case t.Kind() == reflect.Interface:
		return object{}
	case t.Kind() == reflect.Bool:
		return object{"anyOf": orVariable(object{"type": "boolean"})}
	case t.Kind() == reflect.Int:
		o := object{"type": "integer"}
		if r.max > 0 {
			o["minimum"], o["maximum"] = r.min, r.max
		}
		return object{"anyOf": orVariable(o)}
	}
	return text(r)
}

// container is a map or list; one that need not be filled may be null, which is what an empty one looks like when all
// its lines are commented out.
func container(typ, bound string, r rule) object {
	if r.filled {
		return object{"type": typ, bound: 1}
	}
	return object{"type": []string{typ, "null"}}
}

func text(r rule) object {
	o := object{"type": "string"}
	if r.filled {
		o["minLength"] = 1
	}
	demand := object{}
	if r.pattern != nil {
		demand["pattern"] = portable(r.pattern)
	}
	if r.length > 0 {
		demand["maxLength"] = r.length
	}
	if r.enum != nil {
		demand["enum"] = r.enum
	}
	if len(demand) == 0 {
		return o
	}
	either := []object{demand}
	if !r.literal {
		either = orVariable(demand)
	}
	if !r.filled {
		either = append(either, object{"maxLength": 0})
	}
	o["anyOf"] = either
	return o
}

// orVariable lets a text with ${NAME} stand for what its variable holds.
func orVariable(o object) []object {
	return []object{o, {"type": "string", "pattern": `\$\{`}}
}

// portable writes a pattern as JSON Schema has it, ECMAScript's way; the two agree on all that rules use.
func portable(r *regexp.Regexp) string { return strings.ReplaceAll(r.String(), `\S`, `[^ \t]`) }

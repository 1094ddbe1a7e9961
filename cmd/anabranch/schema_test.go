package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// schemas are all objects that --json prints, by their names.
var schemas = map[string]any{
	"anabranch.blob/1":           blobJSON{},
	"anabranch.blob-rule/1":      blobRuleJSON{},
	"anabranch.blob-gc/1":        blobGCJSON{},
	"anabranch.backup/1":         backupJSON{},
	"anabranch.change/1":         changeJSON{},
	"anabranch.check/1":          checkJSON{},
	"anabranch.conflict/1":       conflictJSON{},
	"anabranch.demo/1":           demoResult{},
	"anabranch.device/1":         deviceJSON{},
	"anabranch.diff/1":           diffJSON{},
	"anabranch.diff-summary/1":   diffSummaryJSON{},
	"anabranch.plan/1":           planJSON{},
	"anabranch.document-event/1": documentEventJSON{},
	"anabranch.doctor/1":         doctorJSON{},
	"anabranch.event/1":          event{},
	"anabranch.export/1":         exportJSON{},
	"anabranch.figure/1":         figureJSON{},
	"anabranch.finding/1":        findingJSON{},
	"anabranch.import/1":         importJSON{},
	"anabranch.invite/1":         inviteJSON{},
	"anabranch.join/1":           joinJSON{},
	"anabranch.leave/1":          leaveJSON{},
	"anabranch.load/1":           loadJSON{},
	"anabranch.member/1":         memberJSON{},
	"anabranch.passphrase/1":     passphraseJSON{},
	"anabranch.paths/1":          pathsJSON{},
	"anabranch.proof/1":          proofJSON{},
	"anabranch.proven/1":         provenJSON{},
	"anabranch.record/1":         recordJSON{},
	"anabranch.removal/1":        removalJSON{},
	"anabranch.restore/1":        backupJSON{},
	"anabranch.revocation/1":     revocationJSON{},
	"anabranch.simulation/1":     simulationJSON{},
	"anabranch.space/1":          spaceJSON{},
	"anabranch.status/1":         statusJSON{},
	"anabranch.sync/1":           syncJSON{},
	"anabranch.sync-summary/1":   syncSummaryJSON{},
	"anabranch.text/1":           textJSON{},
	"anabranch.text-change/1":    textChangeJSON{},
	"anabranch.text-event/1":     textEventJSON{},
	"anabranch.text-people/1":    textPeopleJSON{},
	"anabranch.text-patch/1":     textPatchJSON{},
	"anabranch.text-kept/1":      textKeptJSON{},
	"anabranch.value/1":          valueJSON{},
	"anabranch.verify/1":         verifyJSON{},
	"anabranch.version/1":        versionJSON{},
	"anabranch.wait/1":           waitJSON{},
	"anabranch.why/1":            whyJSON{},
	"anabranch.dump/1":           struct{ Schema, Space, Genesis string }{},
	"anabranch.dump-end/1": struct {
		Schema  string
		Records uint64
		Root    string
	}{},
}

// schema is as much of JSON Schema as is used here.
type schema struct {
	Dialect    string             `json:"$schema,omitempty"`
	Title      string             `json:"title,omitempty"`
	Type       any                `json:"type,omitempty"` // a name, or two
	Const      string             `json:"const,omitempty"`
	Encoding   string             `json:"contentEncoding,omitempty"`
	Minimum    *int               `json:"minimum,omitempty"`
	Items      *schema            `json:"items,omitempty"`
	Properties map[string]*schema `json:"properties,omitempty"`
	Required   []string           `json:"required,omitempty"`
}

// schemaOf describes a type as encoding/json writes it. Further properties
// are allowed: they may be added under the same number.
func schemaOf(t reflect.Type) *schema {
	switch t.Kind() {
	case reflect.Pointer:
		s := schemaOf(t.Elem())
		s.Type = []string{s.Type.(string), "null"}
		return s
	case reflect.Interface:
		return &schema{} // any JSON
	case reflect.String:
		return &schema{Type: "string"}
	case reflect.Bool:
		return &schema{Type: "boolean"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return &schema{Type: "integer", Minimum: new(int)}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return &schema{Type: "integer"}
	case reflect.Float64:
		return &schema{Type: "number"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return &schema{Type: "string", Encoding: "base64"}
		}
		return &schema{Type: "array", Items: schemaOf(t.Elem())}
	case reflect.Struct:
		s := &schema{Type: "object", Properties: map[string]*schema{}}
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() {
				continue
			}
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				name = strings.ToLower(f.Name)
			}
			field := schemaOf(f.Type)
			if options != "omitempty" {
				s.Required = append(s.Required, name)
			} else if names, ok := field.Type.([]string); ok {
				field.Type = names[0] // left out where it would be null
			}
			s.Properties[name] = field
		}
		return s
	}
	panic("no schema of " + t.String())
}

func schemaFile(name string) string {
	name, number, _ := strings.Cut(strings.TrimPrefix(name, "anabranch."), "/")
	return filepath.Join("..", "..", "docs", "schemas", name+"-"+number+".json")
}

// TestSchemasAreThoseOfTheDocs holds docs/schemas against the program; with
// UPDATE_SCRIPTS set it writes them. A difference is a change of what scripts
// rely on.
func TestSchemasAreThoseOfTheDocs(t *testing.T) {
	reference, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range schemas {
		s := schemaOf(reflect.TypeOf(v))
		s.Dialect, s.Title = "https://json-schema.org/draft/2020-12/schema", name
		s.Properties["schema"] = &schema{Const: name}
		want, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, '\n')
		if os.Getenv("UPDATE_SCRIPTS") != "" {
			if err := os.WriteFile(schemaFile(name), want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(schemaFile(name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what %s is (%v); UPDATE_SCRIPTS=1 writes it", schemaFile(name), name, err)
		}
		if !bytes.Contains(reference, []byte("`"+name+"`")) {
			t.Errorf("docs/cli.md does not have %s", name)
		}
	}
	files, err := filepath.Glob(schemaFile("*/*"))
	if err != nil || len(files) != len(schemas) {
		t.Errorf("%d files for %d schemas, %v", len(files), len(schemas), err)
	}
}

// TestFieldsAreInSnakeCase: one spelling for every name that scripts read.
func TestFieldsAreInSnakeCase(t *testing.T) {
	snake := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	var look func(at string, s *schema)
	look = func(at string, s *schema) {
		for name, field := range s.Properties {
			if !snake.MatchString(name) {
				t.Errorf("%s has a field %q", at, name)
			}
			look(at+"."+name, field)
		}
		if s.Items != nil {
			look(at, s.Items)
		}
	}
	for name, v := range schemas {
		look(name, schemaOf(reflect.TypeOf(v)))
	}
}

// TestEverySchemaIsKnown: whatever the sources name is in schemas.
func TestEverySchemaIsKnown(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`anabranch\.[a-z-]+/\d+`).FindAllString(string(b), -1) {
			if _, ok := schemas[name]; !ok && name != orderSchema {
				t.Errorf("%s: %s is in no schema", file, name)
			}
		}
	}
}

// TestEveryCommandIsInTheReference: docs/cli.md has every command, and every
// flag of every command is in its help.
func TestEveryCommandIsInTheReference(t *testing.T) {
	reference, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commandTree((&app{}).command()) {
		name := strings.TrimPrefix(c.CommandPath(), "anabranch ")
		if c.HasParent() && !c.HasSubCommands() && !bytes.Contains(reference, []byte("`"+name)) {
			t.Errorf("docs/cli.md does not have %q", name)
		}
	}
}

// valid holds a value against a schema.
func (s *schema) valid(v any, at string) error {
	if s.Const != "" {
		if v != s.Const {
			return fmt.Errorf("%s is %v, not %s", at, v, s.Const)
		}
		return nil
	}
	if s.Type == nil {
		return nil // any JSON
	}
	var is string
	switch v := v.(type) {
	case nil:
		is = "null"
	case string:
		is = "string"
	case bool:
		is = "boolean"
	case json.Number:
		is = "integer"
		if _, err := v.Int64(); err != nil {
			is = "number"
		} else if s.Minimum != nil && strings.HasPrefix(v.String(), "-") {
			return fmt.Errorf("%s is %s", at, v)
		}
	case []any:
		is = "array"
		for i, item := range v {
			if err := s.Items.valid(item, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case map[string]any:
		is = "object"
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				return fmt.Errorf("%s has no %s", at, name)
			}
		}
		for name, field := range v {
			p, ok := s.Properties[name]
			if !ok {
				return fmt.Errorf("%s has %s, which its schema has not", at, name)
			}
			if err := p.valid(field, at+"."+name); err != nil {
				return err
			}
		}
	}
	if is == "integer" && s.Type == "number" {
		return nil
	}
	if names, two := s.Type.([]string); is != s.Type && !(two && slices.Contains(names, is)) {
		return fmt.Errorf("%s is of type %s, not %v", at, is, s.Type)
	}
	return nil
}

// validOutput holds every line that names a schema against it.
func validOutput(out io.Reader) error {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	var failed error
	for lines.Scan() {
		var head struct{ Schema string }
		if json.Unmarshal(lines.Bytes(), &head) != nil || head.Schema == "" {
			continue
		}
		known, ok := schemas[head.Schema]
		if !ok {
			failed = fmt.Errorf("no schema %q", head.Schema)
			continue
		}
		s := schemaOf(reflect.TypeOf(known))
		s.Properties["schema"] = &schema{Const: head.Schema}
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			failed = err
		} else if err := s.valid(v, head.Schema); err != nil {
			failed = err
		}
	}
	return failed
}

// startValidated is start for the scripts: with --json, whatever it prints
// has to be as its schema says, or the command fails with 99.
func startValidated() int {
	if !slices.Contains(os.Args, "--json") {
		return start()
	}
	stdout := os.Stdout
	r, w, err := os.Pipe()
	if err != nil {
		return 99
	}
	os.Stdout = w
	checked := make(chan error, 1)
	copied, feed := io.Pipe()
	go func() { checked <- validOutput(copied); io.Copy(io.Discard, copied) }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(io.MultiWriter(stdout, feed), r)
		feed.Close()
	}()
	code := start()
	w.Close()
	<-done
	if err := <-checked; err != nil {
		fmt.Fprintln(os.Stderr, "not as its schema says:", err)
		return 99
	}
	return code
}

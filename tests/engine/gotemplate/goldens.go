// Writes goldens.json: what Go's own text/template makes of small templates, and of conversations through templates in the shapes that
// Ollama's models have. Needs a Go compiler (Debian's golang-go); the tests only read the result.
//
//	go run goldens.go > goldens.json
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/template"
)

type Message struct {
	Role       string
	Content    string
	Thinking   string
	Images     []any
	ToolCalls  []ToolCall
	ToolName   string
	ToolCallID string
}
type ToolCall struct {
	ID       string
	Function ToolCallFunction
}
type ToolCallFunction struct {
	Index     int
	Name      string
	Arguments Arguments
}
type Arguments map[string]any

func (a Arguments) String() string { return marshal(a) }

type Tools []Tool

func (t Tools) String() string { return marshal(t) }

type Tool struct {
	Type     string       `json:"type"`
	Function ToolFunction `json:"function"`
}

func (t Tool) String() string { return marshal(t) }

type ToolFunction struct {
	Name        string     `json:"name"`
	Description string     `json:"description,omitempty"`
	Parameters  Parameters `json:"parameters"`
}

func (t ToolFunction) String() string { return marshal(t) }

type Parameters struct {
	Type       string              `json:"type"`
	Required   []string            `json:"required,omitempty"`
	Properties map[string]Property `json:"properties"`
}

func (t Parameters) String() string { return marshal(t) }

type Words []string

func (w *Words) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*w = Words{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(w))
}
func (w Words) MarshalJSON() ([]byte, error) {
	if len(w) == 1 {
		return json.Marshal(w[0])
	}
	return json.Marshal([]string(w))
}
func (w Words) String() string {
	if len(w) == 1 {
		return w[0]
	}
	return fmt.Sprintf("%v", []string(w))
}

type Property struct {
	Type        Words  `json:"type,omitempty"`
	Description string `json:"description,omitempty"`
	Enum        []any  `json:"enum,omitempty"`
}

func (p Property) ToTypeScriptType() string {
	names := map[string]string{"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "array": "any[]",
		"object": "Record<string, any>", "null": "null"}
	if len(p.Type) == 0 {
		return "any"
	}
	var out []string
	for _, t := range p.Type {
		out = append(out, names[t])
	}
	return strings.Join(out, " | ")
}

func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func compile(source string) (*template.Template, error) {
	return template.New("").Option("missingkey=zero").Funcs(template.FuncMap{
		"json":             marshal,
		"currentDate":      func(...string) string { return "2026-01-02" },
		"yesterdayDate":    func(...string) string { return "2026-01-01" },
		"toTypeScriptType": func(p Property) string { return p.ToTypeScriptType() },
	}).Parse(source)
}

func run(source string, data any) (string, error) {
	t, err := compile(source)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return "", err
	}
	return b.String(), nil
}

const data = `{"l": ["a", 1, null, 2.5, true], "m": {"b": "x", "a": null, "c": {"d": [1, 2]}}, "n": null, "f": 5, "big": 1234567, "s": "héé\n\"q\"",
	"t": true, "z": 0, "e": "", "el": [], "em": {}, "words": ["one", "two", "three"], "html": "<b>&\u2028'</b>", "i": {"k": {"k": {"k": "deep"}}}}`

var snippets = []string{
	// text and trimming
	"plain", "", "{{/* nothing */}}x", "a {{- /* c */ -}} b", "a {{- \"x\" -}} b", "a\n\n{{- .f }}\n\n b", "  {{ .f -}}  \n\tb", "{{.f}}{{.f}}",
	"{ {{ .f }} }", "}} {{ .f }}", "{{- 3 }}|{{-3}}", "x{{/* a\nb */}}y", "a {{ .f }}{{- /* t */}} b",
	// constants
	"{{ 1 }} {{ -1 }} {{ +7 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 017 }} {{ 1_000 }}", "{{ 1.5 }} {{ .5 }} {{ 1e3 }} {{ 2. }} {{ 1e-7 }} {{ 1e21 }}",
	"{{ 'a' }} {{ '\\n' }} {{ 'é' }} {{ '\\'' }}", "{{ \"a\\tb\\x41\\u00e9\\U0001F600\\101\\\"\" }}", "{{ `raw \\n \"x\"` }}", "{{ true }} {{ false }}",
	"{{ \"\" }}|{{ `` }}", "{{ nil }}", "{{ 08 }}", "{{ 1x }}", "{{ \"open }}", "{{ `open }}", "{{ 'ab' }}", "{{ \"\\q\" }}",
	// data
	"{{ .l }} {{ .m }} {{ .f }} {{ .big }} {{ .s }} {{ .t }}", "{{ .n }} {{ .missing }}", "{{ .m.b }} {{ .m.a }} {{ .m.c.d }} {{ .m.zz }}", "{{ .missing.x }}",
	"{{ .n.x }}", "{{ .s.x }}", "{{ .l.x }}", "{{ .f.x }}", "{{ . | len }}", "{{ $.f }} {{ $ | len }}", "{{ .i.k.k.k }}", "{{ (.m).b }} {{ (.m.c).d }}",
	"{{ (index .words 1) }}", "{{ .el }} {{ .em }}",
	// if, with, range
	"{{ if .t }}yes{{ else }}no{{ end }}", "{{ if .z }}yes{{ else }}no{{ end }}", "{{ if .e }}1{{ else if .el }}2{{ else if .em }}3{{ else }}4{{ end }}",
	"{{ if .n }}1{{ else if .missing }}2{{ else if .words }}3{{ end }}", "{{ with .m }}{{ .b }}{{ end }}", "{{ with .e }}x{{ else }}{{ .f }}{{ end }}",
	"{{ with $x := .m.b }}{{ $x }}{{ . }}{{ end }}", "{{ if $x := .f }}{{ $x }}{{ end }}", "{{ range .words }}[{{ . }}]{{ end }}",
	"{{ range $w := .words }}[{{ $w }}]{{ end }}", "{{ range $i, $w := .words }}{{ $i }}={{ $w }};{{ end }}", "{{ range .el }}x{{ else }}empty{{ end }}",
	"{{ range .m }}({{ . }}){{ end }}", "{{ range $k, $v := .m }}{{ $k }}:{{ $v }};{{ end }}", "{{ range .n }}x{{ else }}none{{ end }}", "{{ range .s }}x{{ end }}",
	"{{ range .f }}x{{ end }}", "{{ range .words }}{{ if eq . \"two\" }}{{ continue }}{{ end }}{{ . }}{{ end }}",
	"{{ range .words }}{{ if eq . \"two\" }}{{ break }}{{ end }}{{ . }}{{ end }}", "{{ range .l }}{{ . }},{{ end }}", "{{ break }}", "{{ if .t }}{{ continue }}{{ end }}",
	"{{ range .words }}{{ range $.words }}{{ . }}{{ end }}|{{ end }}", "{{ range $i, $w := .words }}{{ if $i }}, {{ end }}{{ $w }}{{ end }}",
	"{{ range $i, $_ := .words }}{{ $last := eq (len (slice $.words $i)) 1 }}{{ . }}{{ if $last }}.{{ else }},{{ end }}{{ end }}", "{{ if }}x{{ end }}", "{{ if .t }}x",
	"{{ end }}", "{{ else }}", "{{ if .t }}a{{ else }}b{{ else }}c{{ end }}", "{{ range .words }}",
	// variables
	"{{ $x := 1 }}{{ $x }}", "{{ $x := 1 }}{{ $x = 2 }}{{ $x }}", "{{ $x := 1 }}{{ if .t }}{{ $x = 5 }}{{ end }}{{ $x }}",
	"{{ $x := 1 }}{{ if .t }}{{ $x := 5 }}{{ $x }}{{ end }}{{ $x }}", "{{ $x := -1 }}{{ range $i, $w := .words }}{{ if eq $w \"two\" }}{{ $x = $i }}{{ end }}{{ end }}{{ $x }}",
	"{{ $x := .m }}{{ $x.b }}{{ $x.c.d }}", "{{ $x }}", "{{ if .t }}{{ $y := 1 }}{{ end }}{{ $y }}", "{{ $x = 1 }}", "{{ $a := 1 }}{{ $b := $a }}{{ $a }}{{ $b }}",
	"{{ $x := \"a\" }}{{ range .words }}{{ $x = print $x . }}{{ end }}{{ $x }}", "{{ $i := 9 }}{{ range $i, $w := .words }}{{ end }}{{ $i }}",
	"{{ $f := 2 }}{{ with .m }}{{ $f }}{{ $.f }}{{ end }}",
	// functions
	"{{ and .t .f }} {{ and .z .f }} {{ and .t .e }} {{ or .e .f }} {{ or .e .z }} {{ or .n .missing }}", "{{ not .t }} {{ not .e }} {{ not .n }}", "{{ and 1 }} {{ or 0 }}",
	"{{ or .t (index .el 3) }}", "{{ and .e (index .el 3) }}|", "{{ eq .s .s }} {{ eq 1 1 }} {{ eq 1 2 }} {{ eq \"a\" \"b\" \"a\" }} {{ eq .f 5.0 }} {{ eq .t true }}",
	"{{ eq .f 5 }}", "{{ eq .n nil }} {{ eq .missing \"x\" }} {{ eq .n .missing }}", "{{ eq .l .l }}", "{{ eq 1 }}", "{{ ne 1 2 }} {{ ne .f 5.0 }}", "{{ ne \"a\" 1 }}",
	"{{ lt 1 2 }} {{ le 2 2 }} {{ gt 1 2 }} {{ ge 2 3 }} {{ lt \"a\" \"b\" }} {{ gt 2.5 .f }}", "{{ lt 1 2.0 }}", "{{ lt true false }}", "{{ lt .l 1 }}",
	"{{ len .words }} {{ len .s }} {{ len .m }} {{ len .e }}", "{{ len .f }}", "{{ len .n }}", "{{ len 3 }}", "{{ index .words 0 }} {{ index .m \"b\" }} {{ index .m \"zz\" }} {{ index .m \"c\" \"d\" 1 }}",
	"{{ index .s 0 }} {{ index .words 3 }}", "{{ index .words 3 }}", "{{ index .words -1 }}", "{{ index .words \"a\" }}", "{{ index .m 1 }}", "{{ index .n 1 }}", "{{ index .f 1 }}",
	"{{ slice .words 1 }} {{ slice .words 1 2 }} {{ slice .words 0 0 }} {{ slice .words }} {{ slice .s 0 3 }} {{ slice .words 0 1 2 }}", "{{ slice .words 2 1 }}",
	"{{ slice .words 4 }}", "{{ slice .f 1 }}", "{{ slice .s 0 1 2 }}", "{{ print 1 2 \"a\" 3 4.5 }}", "{{ print }}|{{ print .n .l .t .t }}", "{{ println 1 \"a\" 2 }}",
	"{{ print \"a\" \"b\" }} {{ print .f .f }}", "{{ json .l }} {{ json .m }} {{ json .s }} {{ json .html }} {{ json .big }} {{ json 1e-7 }} {{ json 1e21 }} {{ json .n }} {{ json true }}",
	"{{ currentDate }} {{ currentDate \"x\" }} {{ yesterdayDate }}", "{{ nosuch 1 }}", "{{ not }}", "{{ json }}", "{{ .f 1 }}", "{{ 3 | print 4 }}", "{{ 1 | 2 }}", "{{ .f | .l }}",
	"{{ .words | len | print \"n\" }}", "{{ .e | or .f | not }}", "{{ \"x\" | printf \"%s-%s\" \"y\" }}", "{{ (len .words) | eq 3 }}", "{{ print (print 1 (print 2)) }}", "{{ print (1 }}",
	"{{ print 1) }}", "{{ .f }", "{{ .f", "{{ print(1) }}", "{{ print 1,2 }}", "{{ .f.}}", "{{ 1.f }}", "{{ $x:=1 }}{{ $x }}", "{{ print # }}", "{{ len . }}{{ \n.f\n}}",
	"{{ (print \"ab\") | len }}", "{{ true.x }}", "{{ eq (len .words) 3 }}", "{{ if and .t (eq .s .s) (not .e) }}ok{{ end }}", "{{ if or (eq 1 2) (gt (len .words) 2) }}ok{{ end }}",
	// printf
	"{{ printf \"%d|%5d|%-5d|%05d|%+d|% d\" 42 42 42 42 42 42 }}", "{{ printf \"%x %X %#x %o %b %c %q %U\" 255 255 255 8 5 65 65 65 }}", "{{ printf \"%s|%10s|%-10s|%.2s|%q\" .s .s .s .s .s }}",
	"{{ printf \"%v %v %v %v %v\" .l .m .n .t .big }}", "{{ printf \"%.2f|%8.3f|%e|%g|%v\" 2.345 3.14159 12345.678 1e20 0.1 }}", "{{ printf \"%t %v\" true false }}",
	"{{ printf \"%d %s %t\" \"x\" 3 1 }}", "{{ printf \"%d\" }}", "{{ printf \"%d\" 1 2 \"x\" }}", "{{ printf \"%z %!\" 1 2 }}", "{{ printf \"100%%\" }} {{ printf \"%\" }}",
	"{{ printf \"%s %d\" .l .l }}", "{{ printf \"%T %T %T %T %T\" .s .f .l .m 1 }}", "{{ printf \"%x % x %X\" \"hi\" \"hi\" \"hi\" }}", "{{ printf \"%*d|%-*d|%.*f\" 5 1 4 2 1 2.55 }}",
	"{{ printf \"%6.2f|%06.1f|%+.1f\" 2.5 -2.5 2.5 }}", "{{ printf \"%v %d %s\" nil nil nil }}", "{{ printf 1 2 }}", "{{ printf \"%-8sx%8sx\" \"é\" \"é\" }}", "{{ printf \"%q\" .words }}",
	"{{ printf \"%#q %q\" \"a\\\"b\" \"a\\nb\\x01\" }}", "{{ printf \"%5t|%-7t|\" true false }}", "{{ printf \"%.3d|%8.3d\" 5 5 }}", "{{ printf \"%5v|%-5v|\" 3 4 }}",
	// templates
	"{{ define \"a\" }}<{{ . }}>{{ end }}{{ template \"a\" .f }}{{ template \"a\" \"x\" }}", "{{ template \"a\" }}{{ define \"a\" }}[{{ . }}]{{ end }}", "{{ template \"none\" }}",
	"{{ block \"b\" .words }}{{ range . }}{{ . }}{{ end }}{{ end }}", "{{ define \"a\" }}1{{ end }}{{ define \"a\" }}2{{ end }}{{ template \"a\" }}",
	"{{ define \"r\" }}{{ if .k }}k{{ template \"r\" .k }}{{ else }}{{ . }}{{ end }}{{ end }}{{ with .i }}{{ .k.k.k }}{{ end }}", "{{ define \"a\" }}{{ $x }}{{ end }}{{ $x := 1 }}",
	"{{ $x := 1 }}{{ define \"a\" }}{{ $ }}{{ end }}{{ template \"a\" $x }}", "{{ if .t }}{{ define \"a\" }}{{ end }}{{ end }}", "{{ define a }}{{ end }}", "{{ template .f }}",
	"{{ define \"a\" }}{{ range . }}{{ if eq . \"two\" }}{{ break }}{{ end }}{{ . }}{{ end }}{{ end }}{{ range .words }}{{ template \"a\" $.words }}{{ end }}",
}

var chats = map[string]string{
	"llama3.1-tools": `{{- if or .System .Tools }}<|start_header_id|>system<|end_header_id|>
{{- if .System }}

{{ .System }}
{{- end }}
{{- if .Tools }}

Cutting Knowledge Date: December 2023

Tool results are for answering the question.
{{- end }}<|eot_id|>
{{- end }}
{{- range $n, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $n)) 1 }}
{{- if eq .Role "user" }}<|start_header_id|>user<|end_header_id|>
{{- if and $.Tools $last }}

Choose a function.

{{ range $.Tools }}
{{- . }}
{{ end }}
Question: {{ .Content }}<|eot_id|>
{{- else }}

{{ .Content }}<|eot_id|>
{{- end }}{{ if $last }}<|start_header_id|>assistant<|end_header_id|>

{{ end }}
{{- else if eq .Role "assistant" }}<|start_header_id|>assistant<|end_header_id|>
{{- if .ToolCalls }}
{{ range .ToolCalls }}
{"name": "{{ .Function.Name }}", "parameters": {{ .Function.Arguments }}}{{ end }}
{{- else }}

{{ .Content }}
{{- end }}{{ if not $last }}<|eot_id|>{{ end }}
{{- else if eq .Role "tool" }}<|start_header_id|>ipython<|end_header_id|>

{{ .Content }}<|eot_id|>{{ if $last }}<|start_header_id|>assistant<|end_header_id|>

{{ end }}
{{- end }}
{{- end }}`,
	"qwen-tools": `{{- if .Messages }}
{{- if or .System .Tools }}<|im_start|>system
{{- if .System }}
{{ .System }}
{{- end }}
{{- if .Tools }}

# Tools

Functions are in <tools></tools>:
<tools>
{{- range .Tools }}
{"type": "function", "function": {{ .Function }}}
{{- end }}
</tools>

Answer with <tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>
{{- end }}<|im_end|>
{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 -}}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ if .Content }}{{ .Content }}
{{- else if .ToolCalls }}<tool_call>
{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
{{ end }}</tool_call>
{{- end }}{{ if not $last }}<|im_end|>
{{ end }}
{{- else if eq .Role "tool" }}<|im_start|>user
<tool_response>
{{ .Content }}
</tool_response><|im_end|>
{{ end }}
{{- if and (ne .Role "assistant") $last }}<|im_start|>assistant
{{ end }}
{{- end }}
{{- else }}
{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ if .Prompt }}<|im_start|>user
{{ .Prompt }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ end }}{{ .Response }}{{ if .Response }}<|im_end|>{{ end }}`,
	"qwen3-think": `{{- $lastUser := -1 -}}
{{- range $idx, $msg := .Messages -}}
{{- if eq $msg.Role "user" }}{{ $lastUser = $idx }}{{ end -}}
{{- end }}
{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 -}}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}
{{- if and $.IsThinkSet (eq $i $lastUser) }}
   {{- if $.Think -}}
      {{- " "}}/think
   {{- else -}}
      {{- " "}}/no_think
   {{- end -}}
{{- end }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ if (and $.IsThinkSet (and .Thinking (or $last (gt $i $lastUser)))) -}}
<think>{{ .Thinking }}</think>
{{ end -}}
{{ if .Content }}{{ .Content }}{{ end }}
{{- if .ToolCalls }}
{{- range .ToolCalls }}
<tool_call>
{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
</tool_call>
{{- end }}
{{- end }}{{ if not $last }}<|im_end|>
{{ end }}
{{- else if eq .Role "tool" }}<|im_start|>user
<tool_response>
{{ .Content }}
</tool_response><|im_end|>
{{ end }}
{{- if and (ne .Role "assistant") $last }}<|im_start|>assistant
{{ if and $.IsThinkSet (not $.Think) -}}
<think>

</think>

{{ end -}}
{{ end }}
{{- end }}`,
	"mistral-tools": `{{- range $index, $_ := .Messages }}
{{- if eq .Role "user" }}
{{- if and (le (len (slice $.Messages $index)) 2) $.Tools }}[AVAILABLE_TOOLS] {{ $.Tools }}[/AVAILABLE_TOOLS]
{{- end }}[INST] {{ if and $.System (eq (len (slice $.Messages $index)) 1) }}{{ $.System }}

{{ end }}{{ .Content }}[/INST]
{{- else if eq .Role "assistant" }}
{{- if .Content }} {{ .Content }}
{{- else if .ToolCalls }}[TOOL_CALLS] [
{{- range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
{{- end }}]
{{- end }}</s>
{{- else if eq .Role "tool" }}[TOOL_RESULTS] {"content": {{ .Content }}} [/TOOL_RESULTS]
{{- end }}
{{- end }}`,
	"gemma": `{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if or (eq .Role "user") (eq .Role "system") }}<start_of_turn>user
{{ .Content }}<end_of_turn>
{{ if $last }}<start_of_turn>model
{{ end }}
{{- else if eq .Role "assistant" }}<start_of_turn>model
{{ .Content }}{{ if not $last }}<end_of_turn>
{{ end }}
{{- end }}
{{- end }}`,
	"command-r-tools": `{{- if or .Tools .System }}<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>
{{- if .Tools }}# Tools
{{ if .System }}{{ .System }}
{{- end }}
{{- range .Tools }}

def {{ .Function.Name }}(
{{- range $name, $property := .Function.Parameters.Properties }}{{ $name }}: {{ $property.Type }}, {{ end }}) -> List[Dict]:
    '''{{ .Function.Description }}
{{- if .Function.Parameters.Properties }}

    Args:
{{- range $name, $property := .Function.Parameters.Properties }}
        {{ $name }} ({{ $property.Type }}): {{ $property.Description }}
{{- end }}
{{- end }}
    '''
{{- end }}
{{- else if .System }}{{ .System }}
{{- end }}<|END_OF_TURN_TOKEN|>
{{- end }}
{{- range .Messages }}
{{- if eq .Role "system" }}{{ continue }}{{ end }}<|START_OF_TURN_TOKEN|>
{{- if eq .Role "user" }}<|USER_TOKEN|>{{ .Content }}
{{- else if eq .Role "assistant" }}<|CHATBOT_TOKEN|>
{{- if .Content }}{{ .Content }}{{ end }}
{{- if .ToolCalls }}Action: ` + "```json" + `
[
{{- range .ToolCalls }}
    {
        "tool_name": "{{ .Function.Name }}",
        "parameters": {{ .Function.Arguments }}
    }
{{- end }}
]` + "```" + `
{{- end }}
{{- else if eq .Role "tool" }}<|SYSTEM_TOKEN|><results>
{{ .Content }}</results>
{{- end }}<|END_OF_TURN_TOKEN|>
{{- end }}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>`,
	"typescript-tools": `{{- with .Tools }}namespace functions {
{{- range . }}
{{ with .Function.Description }}// {{ . }}
{{ end }}type {{ .Function.Name }} = (_: {
{{- range $name, $p := .Function.Parameters.Properties }}
  {{ $name }}{{ $required := false }}{{ range $.Tools }}{{ range .Function.Parameters.Required }}{{ if eq . $name }}{{ $required = true }}{{ end }}{{ end }}{{ end }}{{ if not $required }}?{{ end }}: {{ toTypeScriptType $p }}{{ with $p.Enum }} = {{ range $i, $e := . }}{{ if $i }} | {{ end }}{{ printf "%q" $e }}{{ end }}{{ end }},
{{- end }}
}) => any;
{{- end }}
} // {{ currentDate }}
{{ end }}{{ range .Messages }}{{ .Role }}: {{ .Content }}{{ with .ToolName }} ({{ . }}){{ end }}{{ range .ToolCalls }}{{ .Function.Name }}{{ json .Function.Arguments }}{{ range $k, $v := .Function.Arguments }} {{ $k }}={{ $v }}{{ end }}{{ end }}
{{ end }}{{ if .IsThinkSet }}[{{ .Think }} {{ .ThinkLevel }}]{{ end }}{{ len .Messages }} {{ .Nothing }}`,
	"define": `{{ define "say" }}<|{{ .Role }}|>{{ .Content }}<|end|>{{ end -}}
{{ range .Messages }}{{ template "say" . }}{{ end }}{{ block "end" . }}<|assistant|>{{ end }}`,
}

const tools = `[{"type": "function", "function": {"name": "get_weather", "description": "Weather for a <place>", "parameters": {"type": "object", "properties":
	{"place": {"type": "string", "description": "Town & country"}, "unit": {"type": ["string", "null"], "enum": ["C", "F"]}, "days": {"type": "integer"}}, "required": ["place"]}}},
	{"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}]`

type conversation struct {
	name, vars string
}

var conversations = []conversation{
	{"one", `{"messages": [{"role": "user", "content": "Hello there"}]}`},
	{"many", `{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a fruit."}, {"role": "assistant", "content": "Apple"},
		{"role": "user", "content": "Another\n one, \"quoted\" <b>&</b> é."}]}`},
	{"runs of one role", `{"messages": [{"role": "system", "content": "One."}, {"role": "system", "content": "Two."}, {"role": "user", "content": "a"}, {"role": "user", "content": "b"},
		{"role": "assistant", "content": "c"}, {"role": "system", "content": "Three."}, {"role": "user", "content": "d"}]}`},
	{"tools", `{"messages": [{"role": "system", "content": "Use tools."}, {"role": "user", "content": "Weather?"}], "tools": ` + tools + `}`},
	{"result", `{"messages": [{"role": "user", "content": "Weather in Oslo and Rome?"}, {"role": "assistant", "content": "", "tool_calls": [
		{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": {"unit": "C", "place": "Oslo"}}},
		{"id": "c2", "type": "function", "function": {"name": "get_weather", "arguments": {"place": "Rome <it>", "days": 3, "deep": {"b": [1, 2.5, null], "a": true}}}}]},
		{"role": "tool", "content": "3", "name": "get_weather", "tool_call_id": "c1"}, {"role": "tool", "content": "14", "name": "get_weather", "tool_call_id": "c2"}], "tools": ` + tools + `}`},
	{"prefix of the answer", `{"messages": [{"role": "user", "content": "Count"}, {"role": "assistant", "content": "one, two"}]}`},
	{"thinking", `{"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4", "reasoning_content": "easy"}, {"role": "user", "content": "3+3?"}], "enable_thinking": true, "reasoning_effort": "high"}`},
	{"no thinking", `{"messages": [{"role": "user", "content": "Hi"}], "enable_thinking": false}`},
}

type vars struct {
	Messages []struct {
		Role      string
		Content   string
		Reasoning string `json:"reasoning_content"`
		Name      string
		CallID    string `json:"tool_call_id"`
		Calls     []struct {
			ID       string
			Function struct {
				Name      string
				Arguments Arguments
			}
		} `json:"tool_calls"`
	}
	Tools  Tools
	Think  *bool  `json:"enable_thinking"`
	Effort string `json:"reasoning_effort"`
}

// What Ollama hands to a template that names .Messages.
func values(text string) map[string]any {
	var v vars
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(err)
	}
	var system []string
	var messages []*Message
	for _, m := range v.Messages {
		if m.Role == "system" {
			system = append(system, m.Content)
		}
		if n := len(messages); n > 0 && messages[n-1].Role == m.Role && m.Role != "tool" {
			messages[n-1].Content += "\n\n" + m.Content
			continue
		}
		out := &Message{Role: m.Role, Content: m.Content, Thinking: m.Reasoning, ToolName: m.Name, ToolCallID: m.CallID}
		for _, c := range m.Calls {
			out.ToolCalls = append(out.ToolCalls, ToolCall{ID: c.ID, Function: ToolCallFunction{Name: c.Function.Name, Arguments: c.Function.Arguments}})
		}
		messages = append(messages, out)
	}
	return map[string]any{"System": strings.Join(system, "\n\n"), "Messages": messages, "Tools": v.Tools, "Response": "", "Think": v.Think != nil && *v.Think,
		"ThinkLevel": v.Effort, "IsThinkSet": v.Think != nil}
}

type row struct {
	Name     string          `json:"name,omitempty"`
	Template string          `json:"t"`
	Vars     json.RawMessage `json:"v,omitempty"`
	Out      *string         `json:"out,omitempty"`
	Error    string          `json:"error,omitempty"`
}

func (r *row) finish(out string, err error) row {
	if err != nil {
		r.Error = err.Error()
	} else {
		r.Out = &out
	}
	return *r
}

func main() {
	var all struct {
		Data          json.RawMessage            `json:"data"`
		Snippets      []row                      `json:"snippets"`
		Templates     map[string]string          `json:"templates"`
		Conversations map[string]json.RawMessage `json:"conversations"`
		Chats         []row                      `json:"chats"`
	}
	all.Data = json.RawMessage(data)
	for _, s := range snippets {
		var d any
		if err := json.Unmarshal([]byte(data), &d); err != nil {
			panic(err)
		}
		r := row{Template: s}
		all.Snippets = append(all.Snippets, r.finish(run(s, d)))
	}
	all.Templates = chats
	all.Conversations = map[string]json.RawMessage{}
	for name, t := range chats {
		for _, c := range conversations {
			all.Conversations[c.name] = json.RawMessage(c.vars)
			r := row{Name: c.name, Template: name}
			all.Chats = append(all.Chats, r.finish(run(t, values(c.vars))))
		}
	}
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(all); err != nil {
		panic(err)
	}
}

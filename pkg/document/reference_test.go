package document_test

import (
	"reflect"
	"testing"

	"github.com/slipway-os/slipway/pkg/document"
)

func TestReference(t *testing.T) {
	type port struct {
		Number int `yaml:"number" doc:"Its number." becomes:"bindPort"`
	}
	type machine struct {
		Name   string            `yaml:"name" doc:"Its name."`
		Ports  []port            `yaml:"ports"`
		Main   *port             `yaml:"main"`
		On     *bool             `yaml:"on"`
		Labels map[string]string `yaml:"labels"`
		Raw    []map[string]any  `yaml:"raw"`
		hidden string
	}
	want := []document.Field{
		{Path: "name", Type: "string", Doc: "Its name."},
		{Path: "ports", Type: "list of objects"},
		{Path: "ports[].number", Type: "integer", Doc: "Its number.", Becomes: "bindPort"},
		{Path: "main", Type: "object"},
		{Path: "main.number", Type: "integer", Doc: "Its number.", Becomes: "bindPort"},
		{Path: "on", Type: "boolean"},
		{Path: "labels", Type: "object of strings"},
		{Path: "raw", Type: "list of objects"},
	}
	if got := document.Reference(machine{hidden: ""}); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

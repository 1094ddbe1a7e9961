package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// completing reports whether a command is one of those that shells run to
// complete a line. They run here: which home is meant stands in the line that
// is completed, and is known only when that has been read.
func completing(cmd *cobra.Command) bool {
	for ; cmd.HasParent(); cmd = cmd.Parent() {
		switch cmd.Name() {
		case "completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
			return true
		}
	}
	return false
}

// completes gives a command's first argument completion by a shell.
func (a *app) completes(cmd *cobra.Command, names func(*cobra.Command) []string) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names(cmd), cobra.ShellCompDirectiveNoFileComp
	}
}

// spaceNames and deviceNames are what there is to choose from. They ask as
// any other command would, a running up if there is one, and say nothing
// when they fail: a shell shows no errors of a completion.

func (a *app) spaceNames(cmd *cobra.Command) []string {
	return a.ask(cmd, func(field map[string]string) string {
		return field["name"]
	}, "space", "list")
}

func (a *app) deviceNames(cmd *cobra.Command) []string {
	args := []string{"members"}
	if a.space != "" {
		args = append(args, "--space", a.space)
	}
	return a.ask(cmd, func(field map[string]string) string {
		if field["petname"] != "" {
			return field["petname"] + "\t" + field["role"] + " " + field["device"][:shortLen]
		}
		return field["device"][:shortLen] + "\t" + field["role"] + " " + field["label"]
	}, args...)
}

// ask runs a command that lists objects and picks a name from each.
func (a *app) ask(cmd *cobra.Command, pick func(map[string]string) string, args ...string) []string {
	args = append(args, "--json")
	if a.home != "" {
		args = append(args, "--home", a.home)
	}
	var out bytes.Buffer
	asking := &app{stdin: strings.NewReader(""), stdout: &out, stderr: io.Discard}
	if asking.run(cmd.Context(), args) != exitOK {
		return nil
	}
	var names []string
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		var fields map[string]any
		if json.Unmarshal(lines.Bytes(), &fields) != nil {
			continue
		}
		texts := map[string]string{}
		for k, v := range fields {
			if s, ok := v.(string); ok {
				texts[k] = escape(s)
			}
		}
		names = append(names, pick(texts))
	}
	return names
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// manWidth is how wide the lines of a page are that nothing fills.
const manWidth = 72

// newMan writes manual pages, for those who package the program.
func newMan(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages into a folder",
		Hidden: true,
		Args:   takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := a.path(args[0])
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			root := cmd.Root()
			root.InitDefaultCompletionCmd()
			n := 0
			for _, c := range commandTree(root) {
				n++
				if err := os.WriteFile(filepath.Join(dir, manName(c)+".1"), []byte(manPage(c)), 0o644); err != nil {
					return err
				}
			}
			return a.print("%s in %s", count(n, "page", "pages"), dir)
		},
	}
}

// commandTree is a command and all below it that help shows.
func commandTree(c *cobra.Command) []*cobra.Command {
	out := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			out = append(out, commandTree(sub)...)
		}
	}
	return out
}

func manName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// manPage is a command's page in the man macros of troff. It depends on
// nothing but the command: the same program writes the same bytes.
func manPage(c *cobra.Command) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`.TH "%s" "1" "" "anabranch %s" "Anabranch"`, strings.ToUpper(manText(manName(c))), manText(release))
	line(".SH NAME\n%s \\- %s", manText(manName(c)), manText(lowered(c.Short)))
	line(".SH SYNOPSIS\n\\fB%s\\fR", manText(c.UseLine()))
	line(".SH DESCRIPTION")
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	indented := false
	for _, l := range strings.Split(text, "\n") {
		if now := strings.HasPrefix(l, "  "); now != indented {
			indented = now
			line("%s", map[bool]string{true: ".nf", false: ".fi"}[now])
		}
		if l == "" {
			l = ".PP"
		} else {
			l = manText(l)
		}
		line("%s", l)
	}
	if indented {
		line(".fi")
	}
	if c.HasAvailableSubCommands() {
		line(".SH COMMANDS")
		for _, sub := range c.Commands() {
			if !sub.Hidden && sub.Name() != "help" {
				line(".TP\n\\fB%s\\fR\n%s", manText(sub.Name()), manText(sub.Short))
			}
		}
	}
	flags := func(title, usages string) {
		if usages == "" {
			return
		}
		line(".SH %s\n.nf", title)
		for l := range strings.Lines(usages) {
			line("%s", manText(strings.TrimRight(l, "\n")))
		}
		line(".fi")
	}
	flags("OPTIONS", c.NonInheritedFlags().FlagUsagesWrapped(manWidth))
	flags("OPTIONS OF EVERY COMMAND", c.InheritedFlags().FlagUsagesWrapped(manWidth))
	line(".SH EXIT STATUS\n0: done. 1: failed. 2: the command line cannot be meant. 3: done in part. 4: roots differ, or time is up.\nThe rest stand in docs/cli.md; any other code means failed.")
	if c.HasParent() {
		line(".SH SEE ALSO\n\\fB%s\\fR(1)", manText(manName(c.Parent())))
	}
	return b.String()
}

// manText makes text safe inside a page.
func manText(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

// lowered begins a sentence in lower case, as the NAME line wants it.
func lowered(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

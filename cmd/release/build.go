package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// pages are in every archive, beside the program and the manual pages.
var pages = []string{"CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md"}

// archive builds the program for a platform and packs it.
func archive(ctx context.Context, scratch, version, platform string, common []file) (file, error) {
	system, arch, ok := strings.Cut(platform, "/")
	if !ok {
		return file{}, fmt.Errorf("a platform is system/architecture, as linux/amd64")
	}
	program := file{name: "anabranch", program: true}
	if system == "windows" {
		program.name += ".exe"
	}
	var err error
	if program.content, err = compile(ctx, scratch, version, "GOOS="+system, "GOARCH="+arch); err != nil {
		return file{}, err
	}
	top := fmt.Sprintf("anabranch-%s-%s-%s", version, system, arch)
	files := slices.Concat([]file{program}, common)
	for i, f := range files {
		files[i].name = top + "/" + f.name
	}
	pack, suffix := tarGz, ".tar.gz"
	if system == "windows" {
		pack, suffix = zipped, ".zip"
	}
	content, err := pack(files)
	return file{name: top + suffix, content: content}, err
}

// compile returns the program. Without C, paths, a build ID and what git
// says, and for the oldest processors of the architecture, whatever the
// environment would have.
func compile(ctx context.Context, scratch, version string, target ...string) ([]byte, error) {
	name := filepath.Join(scratch, "program")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly",
		"-ldflags", "-s -w -buildid= -X main.release="+version, "-o", name, "./cmd/anabranch")
	build.Env = append(plainEnvironment(), target...)
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return os.ReadFile(name)
}

// plainEnvironment is this process's without what changes a program.
func plainEnvironment() []string {
	set := []string{"CGO_ENABLED=0", "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off", "GOAMD64=v1", "GOARM64=v8.0", "GO386=sse2"}
	return append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(name, "ANABRANCH_") || name == "GOOS" || name == "GOARCH" ||
			slices.ContainsFunc(set, func(s string) bool { return strings.HasPrefix(s, name+"=") })
	}), set...)
}

// documents are the pages and the manual, which a program for this machine
// writes.
func documents(ctx context.Context, scratch string) ([]file, error) {
	var files []file
	for _, name := range pages {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("%w; run it at the top of a checkout", err)
		}
		files = append(files, file{name: name, content: b})
	}
	man := filepath.Join(scratch, "man")
	write := exec.CommandContext(ctx, "go", "run", "./cmd/anabranch", "man", man)
	write.Env = plainEnvironment()
	if out, err := write.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("manual pages: %w\n%s", err, out)
	}
	entries, err := os.ReadDir(man) // by name
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(man, e.Name()))
		if err != nil {
			return nil, err
		}
		files = append(files, file{name: "man/" + e.Name(), content: b})
	}
	return files, nil
}

// Command release writes the archives of a release and their checksums:
//
//	go run ./cmd/release -version 0.1.0 -out dist
//
// It is run at the top of a checkout. What it writes is a function of the
// sources, the version and the Go toolchain: no clock, folder, user, map
// order or environment gets into an archive, so that anybody can build the
// same bytes and compare SHA256SUMS.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
)

// platforms are those that .ci/run builds.
const platforms = "linux/amd64,linux/arm64,linux/386,darwin/amd64,darwin/arm64,windows/amd64,windows/arm64"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release: error:", err)
		os.Exit(1)
	}
}

// run is one release, with the arguments of a command line. It prints the
// checksums.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	version := flags.String("version", "", "what \"anabranch version\" will say, as 0.1.0")
	dist := flags.String("out", "dist", "the `folder` to write to; it must not exist, or be empty")
	only := flags.String("platforms", platforms, "system/architecture, parted by commas")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := checkVersion(*version); err != nil {
		return err
	}
	if old, err := os.ReadDir(*dist); err == nil && len(old) > 0 {
		return fmt.Errorf("%s is not empty", *dist)
	}
	scratch, err := os.MkdirTemp("", "anabranch-release-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	common, err := documents(ctx, scratch)
	if err != nil {
		return err
	}
	var archives []file
	for platform := range strings.SplitSeq(*only, ",") {
		a, err := archive(ctx, scratch, *version, platform, common)
		if err != nil {
			return fmt.Errorf("%s: %w", platform, err)
		}
		archives = append(archives, a)
	}
	sums := checksums(archives)
	if err := os.MkdirAll(*dist, 0o755); err != nil {
		return err
	}
	for _, f := range append(archives, file{name: "SHA256SUMS", content: sums}) {
		if err := os.WriteFile(filepath.Join(*dist, f.name), f.content, 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "%swith %s\n", sums, runtime.Version())
	return nil
}

// checkVersion accepts what can stand in a file name and in a linker flag.
func checkVersion(v string) error {
	if v == "" {
		return errors.New("-version is missing")
	}
	if strings.Trim(v, "0123456789abcdefghijklmnopqrstuvwxyz.-+") != "" || v[0] < '0' || v[0] > '9' {
		return fmt.Errorf("version %q: digits first, then digits, small letters, and . - +", v)
	}
	return nil
}

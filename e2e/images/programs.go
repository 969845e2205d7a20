package images

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"longshore.dev/longshore/e2e/parts"
)

// Compile is a static Go program to be built for an image.
type Compile struct {
	// Dir is the folder of the module, Package what to build in it.
	Dir, Package string
	Tags         []string
	LDFlags      []string
}

// To builds the program into a file.
func (c Compile) To(ctx context.Context, output string) error {
	output, err := filepath.Abs(output)
	if err != nil {
		return err
	}
	args := []string{"build", "-trimpath", "-ldflags=" + strings.Join(append([]string{"-s", "-w"}, c.LDFlags...), " ")}
	if len(c.Tags) > 0 {
		args = append(args, "-tags="+strings.Join(c.Tags, ","))
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", output, c.Package)...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOWORK=off")
	words, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("building %s in %s: %w\n%s", c.Package, c.Dir, err, strings.TrimSpace(string(words)))
	}
	return nil
}

// shellCommands are the applets of busybox that scripts in test images use. wget and nc are left out: they crash in the static build.
var shellCommands = []string{
	"[", "awk", "basename", "cat", "chmod", "chown", "chroot", "cmp", "cp", "cut", "date", "dd", "diff", "dirname", "dmesg", "echo", "env", "expr",
	"false", "find", "grep", "head", "hostname", "id", "kill", "ln", "ls", "md5sum", "mkdir", "mktemp", "mount", "mv", "nsenter", "od", "printf", "ps",
	"pwd", "readlink", "realpath", "rm", "rmdir", "sed", "seq", "sh", "sha256sum", "sleep", "sort", "stat", "sync", "tail", "tar", "tee", "test",
	"timeout", "touch", "tr", "true", "umount", "uname", "uniq", "wc", "which", "xargs", "yes",
}

// Shell is a layer with a POSIX shell and the usual commands, from Debian's busybox-static.
func Shell(ctx context.Context, progress io.Writer) ([]File, error) {
	dir, err := parts.Debian(ctx, progress, "busybox-static")
	if err != nil {
		return nil, fmt.Errorf("a shell for images: %w", err)
	}
	files := []File{Program("/bin/busybox", filepath.Join(dir, "bin", "busybox")), {Path: "/tmp/.keep", Mode: 0o644}}
	for _, command := range shellCommands {
		files = append(files, Link("/bin/"+command, "busybox"))
	}
	return files, nil
}

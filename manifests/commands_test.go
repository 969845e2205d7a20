package manifests

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"longshore.dev/longshore/spec"
)

// The commands of the samples, run by the machine's own shell on a node that is a folder.
func TestTheCommandsOfTheSamplesKeepTheirPromises(t *testing.T) {
	for _, name := range []string{"crun", "gvisor", "wasm"} {
		rt := readSample(t, name, "")
		t.Run(name, func(t *testing.T) {
			t.Run("installs and uninstalls, twice each", func(t *testing.T) { comesAndGoes(t, rt) })
			keepsItsPromises(t, rt)
		})
	}
}

// What the commands do is the same everywhere, but for the places.
func TestTheCommandsOfTheSamplesFindContainerdOnEveryDistribution(t *testing.T) {
	names := []string{"crun", "gvisor", "wasm"}
	for i, overlay := range folders(t, overlays) {
		// All of them read the same variables, so each overlay is tried with one of them in turn.
		rt := readSample(t, names[i%len(names)], overlay)
		t.Run(overlay+" "+rt.Name, func(t *testing.T) { comesAndGoes(t, rt) })
		t.Run(overlay+" does not restart a containerd that would not come up", func(t *testing.T) { looksBeforeTheLeap(t, rt) })
		for _, unit := range readUnits(rt) {
			t.Run(overlay+" restarts "+unit, func(t *testing.T) {
				n := newFolderNode(t, rt)
				n.active = unit
				n.mustRun(rt.InstallCmd)
				if unit != "none" && !strings.Contains(n.ran(), "systemctl restart "+unit+"\n") {
					t.Errorf("%s was not restarted:\n%s", unit, n.ran())
				}
			})
		}
	}
}

// comesAndGoes installs and uninstalls, twice each. The second time nothing is restarted, and the drop-ins are not touched: some
// distributions watch them.
func comesAndGoes(t *testing.T, rt *spec.Runtime) {
	n := newFolderNode(t, rt)
	once, twice := 1, 2
	if n.units[0] == "none" {
		once, twice = 0, 0
	}
	n.mustRun(rt.InstallCmd)
	n.wantFile(n.dropins + "/" + rt.Name + ".toml")
	n.wantRestarts(once)
	before := n.ran()
	n.mustRun(rt.InstallCmd)
	for command := range strings.SplitSeq(strings.TrimPrefix(n.ran(), before), "\n") {
		if program, _, _ := strings.Cut(command, " "); slices.Contains([]string{"cp", "mv", "rm", "mkdir"}, program) {
			t.Errorf("the second install ran %q", command)
		}
	}
	n.wantRestarts(once)
	n.mustRun(rt.UninstallCmd)
	n.wantRestarts(twice)
	n.wantAsBefore()
	n.mustRun(rt.UninstallCmd)
	n.wantRestarts(twice)
	n.wantAsBefore()
}

func looksBeforeTheLeap(t *testing.T, rt *spec.Runtime) {
	n := newFolderNode(t, rt)
	n.imports = false
	n.mustFail(rt.InstallCmd, "containerd on node-1 does not read "+n.dropins)
	n.wantRestarts(0)
	n.mustRun(rt.UninstallCmd)
	n.wantAsBefore()
}

func keepsItsPromises(t *testing.T, rt *spec.Runtime) {
	t.Run("keeps a folder that was there", func(t *testing.T) {
		n := newFolderNode(t, rt)
		n.write(n.dropins+"/other.toml", "")
		n.mustRun(rt.InstallCmd)
		n.mustRun(rt.UninstallCmd)
		n.wantFile(n.dropins + "/other.toml")
	})
	t.Run("does not restart a containerd that would not come up", func(t *testing.T) { looksBeforeTheLeap(t, rt) })
	t.Run("does not touch an old containerd", func(t *testing.T) {
		n := newFolderNode(t, rt)
		n.version = "containerd github.com/containerd/containerd 1.6.20"
		n.mustFail(rt.InstallCmd, "node-1 has no containerd 2")
		n.wantRestarts(0)
		n.wantAsBefore()
	})
}

// enclave-cc's script stops where it may not make its RuntimeClass; everything else that it asks kubectl for has to go through.
func TestThePayloadOfEnclaveCCIsLeftWithoutItsRuntimeClass(t *testing.T) {
	rt, dir := readSample(t, "enclave-cc", ""), t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write("kubectl", "#!/bin/sh\ncase $1 in apply | delete) echo forbidden; exit 1 ;; *) echo \"server: $*\" ;; esac\n")
	write("enclave-cc-deploy.sh", "#!/usr/bin/env bash\nset -e\nkubectl apply -f class.yaml\nkubectl delete -f class.yaml\nkubectl label node \"$NODE_NAME\" \"action=$1\"\n")
	for action, command := range map[string][]string{"install": rt.InstallCmd, "cleanup": rt.UninstallCmd} {
		script := strings.ReplaceAll(command[2], "/opt/enclave-cc-artifacts/scripts", dir)
		shell := exec.CommandContext(t.Context(), "bash", "-c", script)
		shell.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", "NODE_NAME=node-1"}
		out, err := shell.CombinedOutput()
		if want := "server: label node node-1 action=" + action; err != nil || !strings.Contains(string(out), want) || strings.Contains(string(out), "forbidden") {
			t.Errorf("%s: %v, expected %q in: %s", action, err, want, out)
		}
	}
}

// folderNode is a node that is a folder: its /host and /payload are there, and its containerd is a script.
type folderNode struct {
	t   *testing.T
	dir string
	env []string
	// What the variables of the sample say about containerd.
	program, config, dropins string
	units                    []string

	version string
	// imports says whether containerd reads its drop-ins.
	imports bool
	// active is the unit that runs containerd.
	active string
	// before is what was there, artifacts left out.
	before []string
}

func newFolderNode(t *testing.T, rt *spec.Runtime) *folderNode {
	n := &folderNode{t: t, dir: t.TempDir(), version: "containerd github.com/containerd/containerd/v2 2.4.2", imports: true, units: readUnits(rt)}
	n.active = n.units[0]
	for _, variable := range rt.Env {
		n.env = append(n.env, variable.Name+"="+variable.Value)
		switch variable.Name {
		case "CONTAINERD":
			n.program = variable.Value
		case "CONTAINERD_CONFIG":
			n.config = variable.Value
		case "CONTAINERD_DROPINS":
			n.dropins = variable.Value
		}
	}
	n.write(n.config, "version = 3\n")
	for _, file := range []string{"crun", "runsc", "containerd-shim-runsc-v1", "containerd-shim-wasmtime-v1"} {
		n.writeFile(filepath.Join(n.dir, "payload", file), "binary")
	}
	n.before = n.files()
	return n
}

// readUnits are the units of which one runs containerd, or `none`.
func readUnits(rt *spec.Runtime) []string {
	for _, variable := range rt.Env {
		if variable.Name == "CONTAINERD_UNITS" {
			return strings.Fields(variable.Value)
		}
	}
	return nil
}

// nsenter stands for the program of that name: what is to run on the host runs here on the node's files, and is written down.
func (n *folderNode) nsenter() string {
	dump := "cat " + n.dir + "/host" + n.config
	if n.imports {
		dump += "; cat " + n.dir + "/host" + n.dropins + "/*.toml 2>/dev/null"
	}
	return fmt.Sprintf(`#!/bin/sh
shift 5
echo "$*" >> %[1]s/ran
case "$*" in
"%[2]s --version") echo %[3]q; exit ;;
"%[2]s --config %[4]s config dump") echo "SystemdCgroup = true"; %[5]s; exit ;;
"systemctl is-active "*) [ "$3" = %[6]s ]; exit ;;
"systemctl restart %[6]s") exit ;;
esac
for word; do
  shift
  case "$word" in /*) word=%[1]s/host$word ;; esac
  set -- "$@" "$word"
done
exec "$@"
`, n.dir, n.program, n.version, n.config, dump, n.active)
}

func (n *folderNode) run(command []string) (string, error) {
	n.t.Helper()
	// The kubelet makes what is mounted.
	for _, dir := range []string{"/opt/crun", "/opt/gvisor", "/opt/wasm"} {
		if err := os.MkdirAll(filepath.Join(n.dir, "host", dir), 0o700); err != nil {
			n.t.Fatal(err)
		}
	}
	n.writeFile(filepath.Join(n.dir, "bin", "nsenter"), n.nsenter())
	n.writeFile(filepath.Join(n.dir, "bin", "sleep"), "#!/bin/sh\n")
	if len(command) != 3 || command[0] != "/bin/sh" || command[1] != "-c" {
		n.t.Fatalf("the command is %q, expected a shell with a script", command)
	}
	script := strings.ReplaceAll(command[2], "/host/", n.dir+"/host/")
	script = strings.ReplaceAll(script, "/payload/", n.dir+"/payload/")
	shell := exec.CommandContext(n.t.Context(), "/bin/sh", "-c", script)
	shell.Env = append([]string{"PATH=" + filepath.Join(n.dir, "bin") + ":/usr/bin:/bin", "NODE_NAME=node-1"}, n.env...)
	out, err := shell.CombinedOutput()
	return string(out), err
}

func (n *folderNode) mustRun(command []string) {
	n.t.Helper()
	if out, err := n.run(command); err != nil {
		n.t.Fatalf("%v: %s", err, out)
	}
}

func (n *folderNode) mustFail(command []string, want string) {
	n.t.Helper()
	out, err := n.run(command)
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 1 || !strings.Contains(out, want) {
		n.t.Fatalf("it ended with %v, expected exit 1 and the words %q: %s", err, want, out)
	}
}

// ran is what ran on the host, a line each.
func (n *folderNode) ran() string {
	n.t.Helper()
	text, err := os.ReadFile(filepath.Join(n.dir, "ran"))
	if err != nil {
		n.t.Fatal(err)
	}
	return string(text)
}

func (n *folderNode) wantRestarts(want int) {
	n.t.Helper()
	if got := strings.Count(n.ran(), "systemctl restart "); got != want {
		n.t.Errorf("containerd was restarted %d times, expected %d:\n%s", got, want, n.ran())
	}
}

func (n *folderNode) wantFile(path string) {
	n.t.Helper()
	if _, err := os.Stat(filepath.Join(n.dir, "host", path)); err != nil {
		n.t.Error(err)
	}
}

// wantAsBefore holds that the node is as it was before.
func (n *folderNode) wantAsBefore() {
	n.t.Helper()
	if now := n.files(); !slices.Equal(now, n.before) {
		n.t.Errorf("the node has %q, expected %q", now, n.before)
	}
}

// files is everything on the node, but for folders in /opt: the kubelet makes them when it mounts them.
func (n *folderNode) files() []string {
	n.t.Helper()
	var found []string
	err := filepath.WalkDir(filepath.Join(n.dir, "host"), func(path string, entry os.DirEntry, err error) error {
		if err == nil && (!entry.IsDir() || !strings.HasPrefix(path, filepath.Join(n.dir, "host/opt"))) {
			found = append(found, strings.TrimPrefix(path, n.dir+"/host"))
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return found
}

func (n *folderNode) write(path, text string) {
	n.t.Helper()
	n.writeFile(filepath.Join(n.dir, "host", path), text)
}

func (n *folderNode) writeFile(path, text string) {
	n.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		n.t.Fatal(err)
	}
}

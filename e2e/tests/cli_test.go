package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"longshore.dev/longshore/e2e/deploy"
)

// longshore runs the shipped program and returns what it printed and its exit code.
func (s *suite) longshore(kubeconfig string, args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	program, err := deploy.Program(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), program, args...)
	cmd.Env = []string{"KUBECONFIG=" + kubeconfig, "HOME=" + s.t.TempDir()}
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return out.String(), words.String(), cmd.ProcessState.ExitCode()
}

// account writes a kubeconfig for a service account.
func (s *suite) account(namespace, name, server string) string {
	s.t.Helper()
	token, err := s.kube.CoreV1().ServiceAccounts(namespace).CreateToken(s.t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	config, err := s.c.RESTConfig()
	if err != nil {
		s.t.Fatal(err)
	}
	if server == "" {
		server = config.Host
	}
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters["c"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: config.CAData}
	kubeconfig.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	kubeconfig.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	kubeconfig.CurrentContext = "x"
	file := filepath.Join(s.t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*kubeconfig, file); err != nil {
		s.t.Fatal(err)
	}
	return file
}

func TestStatusTellsRuntimesAndNodesWithTheControllersOwnRights(t *testing.T) {
	s := start(t, "told")
	image := s.payload("told:1", map[string]string{"/install.sh": touchScript, "/uninstall.sh": removeScript})
	s.apply(fmt.Sprintf(specText, "told", image, "containerd=2"))
	revision := s.ready("told", 2)
	kubeconfig := s.account("longshore-system", "longshore", "")

	stdout, stderr, code := s.longshore(kubeconfig, "status", "told", "--output=json")
	if code != 0 {
		t.Fatalf("status exited %d: %s", code, stderr)
	}
	var report struct {
		Runtimes []struct {
			Name, Phase, Revision string
			Done, Total           int
			Nodes                 []struct {
				Node, Phase string
				Done        bool
			}
		}
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("status printed %q: %v", stdout, err)
	}
	if len(report.Runtimes) != 1 || report.Runtimes[0].Phase != "Ready" || report.Runtimes[0].Revision != revision || report.Runtimes[0].Done != 2 ||
		len(report.Runtimes[0].Nodes) != 2 || !report.Runtimes[0].Nodes[0].Done || report.Runtimes[0].Nodes[0].Node != nodeA {
		t.Errorf("status tells %+v, expected runtime told Ready at %s on two nodes", report, revision)
	}
	stdout, stderr, code = s.longshore(kubeconfig, "status")
	if code != 0 || !strings.Contains(stdout, "told") || !strings.Contains(stdout, nodeB) {
		t.Errorf("status printed %q and %q with code %d, expected a table with runtime and nodes", stdout, stderr, code)
	}
	stdout, stderr, code = s.longshore(kubeconfig, "status", nodeA)
	if code != 0 || !strings.Contains(stdout, "told") || !strings.Contains(stdout, nodeA) || strings.Contains(stdout, nodeB) {
		t.Errorf("status %s printed %q and %q with code %d, expected the story of that node alone", nodeA, stdout, stderr, code)
	}

	// What a bug report attaches tells the same, without a cluster.
	file := filepath.Join(t.TempDir(), "cluster.json")
	live := s.reported(kubeconfig, "--save", file)
	saved := s.reported("/nonexistent", "--from", file)
	if diff := cmp.Diff(live, saved); diff != "" {
		t.Errorf("the report of the cluster (-) and of the file that was saved of it (+):\n%s", diff)
	}
}

// reported is what status says as JSON, but for the time.
func (s *suite) reported(kubeconfig string, args ...string) map[string]any {
	s.t.Helper()
	stdout, stderr, code := s.longshore(kubeconfig, append([]string{"status", "--output=json"}, args...)...)
	if code != 0 {
		s.t.Fatalf("status %q exited %d: %s", args, code, stderr)
	}
	var report map[string]any
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		s.t.Fatalf("status %q printed %q: %v", args, stdout, err)
	}
	delete(report, "time")
	return report
}

func TestWhatIsNotSetUpIsOneLineWithAHint(t *testing.T) {
	s := start(t, "unset")
	for name, c := range map[string]struct{ kubeconfig, want string }{
		"no rights":             {s.account("default", "default", ""), "give the account that right"},
		"nobody at the address": {s.account("longshore-system", "longshore", "https://127.0.0.1:1"), "is the cluster up"},
		"no kubeconfig":         {filepath.Join(t.TempDir(), "none"), "no cluster is configured"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, command := range []string{"status", "controller"} {
				if command == "controller" && name == "no rights" {
					// The controller waits for rights that may still be on their way.
					continue
				}
				stdout, stderr, code := s.longshore(c.kubeconfig, command)
				lines := strings.Split(strings.TrimSpace(stderr), "\n")
				last := lines[len(lines)-1]
				if code != 1 || !strings.HasPrefix(last, "longshore: ") || !strings.Contains(last, c.want) || strings.Contains(stdout+stderr, "goroutine") {
					t.Errorf("%s exited %d with %q, expected 1 and a line with %q", command, code, stderr, c.want)
				}
			}
		})
	}
	if _, err := os.Stat(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a kubeconfig was written")
	}
}

func TestTheDoctorFindsNothingWrongWithADeploymentAndASpecElsewhere(t *testing.T) {
	s := start(t, "examined")
	stdout, stderr, code := s.longshore(s.c.Kubeconfig(), "doctor")
	if code != 0 || strings.Contains(stdout, "WRONG") || !strings.Contains(stdout, "ok     the account system:serviceaccount:longshore-system:longshore has its rights") {
		t.Errorf("the doctor exited %d: %s%s", code, stdout, stderr)
	}
	stray := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "astray", Labels: map[string]string{"longshore.dev/runtime": "examined"}}}
	if _, err := s.kube.CoreV1().ConfigMaps("default").Create(t.Context(), stray, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.kube.CoreV1().ConfigMaps("default").Delete(ctx, "astray", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	stdout, _, code = s.longshore(s.c.Kubeconfig(), "doctor")
	if code != 1 || !strings.Contains(stdout, "WRONG  nobody watches the ConfigMaps default/astray; put them into namespace longshore, or delete them") {
		t.Errorf("with a spec elsewhere the doctor exited %d: %s", code, stdout)
	}
	// An account without rights is told what it may not look at, and nothing is claimed to be wrong for that.
	stdout, _, _ = s.longshore(s.account("default", "default", ""), "doctor")
	if !strings.Contains(stdout, "note   namespace longshore: this account may not look") || strings.Contains(stdout, "WRONG") {
		t.Errorf("without rights the doctor says %s", stdout)
	}
}

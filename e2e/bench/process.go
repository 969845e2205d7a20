// Package bench answers: what does it cost?
//
// It measures the shipped controller in clusters of thousands of simulated nodes, next to floors: the least that anything could do that
// brings the same pods to the same nodes. The controller is a process of this machine with the token of its own account and the shipped
// roles, so that its CPU and memory can be read and the audit log has its calls.
package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// account is the user that the audit log knows the controller by.
const account = "system:serviceaccount:longshore-system:longshore"

// asController is the access of the controller's own account, for an hour.
func asController(ctx context.Context, admin *rest.Config) (*rest.Config, error) {
	kube, err := kubernetes.NewForConfig(admin)
	if err != nil {
		return nil, err
	}
	seconds := int64(time.Hour.Seconds())
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	token, err := kube.CoreV1().ServiceAccounts("longshore-system").CreateToken(ctx, "longshore", request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("token for the controller: %w", err)
	}
	config := rest.AnonymousClientConfig(admin)
	config.BearerToken, config.QPS = token.Status.Token, -1
	return config, nil
}

// writeKubeconfig writes the access into a file.
func writeKubeconfig(config *rest.Config, path string) error {
	out := clientcmdapi.NewConfig()
	out.Clusters["bench"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData, CertificateAuthority: config.CAFile}
	out.AuthInfos["longshore"] = &clientcmdapi.AuthInfo{Token: config.BearerToken}
	out.Contexts["bench"] = &clientcmdapi.Context{Cluster: "bench", AuthInfo: "longshore"}
	out.CurrentContext = "bench"
	return clientcmd.WriteToFile(*out, path)
}

// controller is one running `longshore controller`.
type controller struct {
	cmd     *exec.Cmd
	log     *os.File
	metrics string
	ended   chan struct{}
}

// startController starts the program as a pod would run it.
func startController(program, dir string, config *rest.Config, args ...string) (*controller, error) {
	site := filepath.Join(dir, "site")
	if err := os.MkdirAll(site, 0o700); err != nil {
		return nil, err
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := writeKubeconfig(config, kubeconfig); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(dir, "controller.log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	metrics, err := freePort()
	if err != nil {
		return nil, err
	}
	args = append([]string{
		"controller", "--kubeconfig=" + kubeconfig, "--site-dir=" + site, "--pause-image=bench.test/longshore:1",
		"--metrics-address=" + metrics, "--health-address=",
	}, args...)
	c := &controller{cmd: exec.Command(program, args...), log: log, metrics: metrics, ended: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr, c.cmd.Env = log, log, []string{"HOME=/nonexistent"}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the controller: %w", err)
	}
	go func() {
		_ = c.cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// kill ends the process as a crash does.
func (c *controller) kill() { c.end(syscall.SIGKILL) }

// stop asks the process to end, which gives its lease back.
func (c *controller) stop() { c.end(syscall.SIGTERM) }

func (c *controller) end(signal syscall.Signal) {
	_ = c.cmd.Process.Signal(signal)
	<-c.ended
	_ = c.log.Close()
}

// words are the last lines that the process wrote.
func (c *controller) words() string {
	text, err := os.ReadFile(c.log.Name())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// usage is what a process has used so far.
type usage struct {
	cpu time.Duration
	// resident and peak are in bytes.
	resident, peak int64
}

// ticks is the unit of /proc/PID/stat, which Linux has at a hundredth of a second wherever Go runs.
const ticks = 10 * time.Millisecond

// usageOf reads what a process has used.
func usageOf(pid int) (usage, error) {
	var u usage
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// The name, in parentheses, may have spaces; the state is the first field behind it.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	const user, system = 11, 12
	if len(fields) <= system {
		return u, errors.New("/proc/PID/stat has too few fields")
	}
	for _, field := range fields[user : system+1] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(n) * ticks
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		words := strings.Fields(line)
		if len(words) != 3 || words[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil {
			return u, err
		}
		switch words[0] {
		case "VmRSS:":
			u.resident = n << 10
		case "VmHWM:":
			u.peak = n << 10
		}
	}
	return u, nil
}

// metric reads the sum of a metric over all of its labels.
func (c *controller) metric(ctx context.Context, name string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.metrics+"/metrics", http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	return sumMetric(response.Body, name)
}

package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Controller is one `longshore controller` as a process of this machine. It may be started again after its end, however that came.
type Controller struct {
	program string
	args    []string
	log     *os.File

	mu      sync.Mutex
	running *exec.Cmd
	ended   chan struct{}
	starts  int
}

// Access writes a kubeconfig that reaches the API server through the proxy, with a token of the controller's own account: outside of the
// cluster it may do what it may inside, and nothing else.
func Access(ctx context.Context, kube kubernetes.Interface, proxy *Proxy, path string) error {
	seconds := int64(time.Hour.Seconds())
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	token, err := kube.CoreV1().ServiceAccounts("longshore-system").CreateToken(ctx, "longshore", request, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("token for the controller: %w", err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["proxy"] = &clientcmdapi.Cluster{Server: "https://" + proxy.address, CertificateAuthorityData: proxy.authority.Cert}
	config.AuthInfos["longshore"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["proxy"] = &clientcmdapi.Context{Cluster: "proxy", AuthInfo: "longshore"}
	config.CurrentContext = "proxy"
	return clientcmd.WriteToFile(*config, path)
}

// NewController describes a controller that is not started yet: its program, its folder for the log and the site's component, and its flags.
func NewController(program, dir string, args ...string) (*Controller, error) {
	site := filepath.Join(dir, "site")
	if err := os.MkdirAll(site, 0o700); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(dir, "controller.log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	args = append([]string{"controller", "--site-dir=" + site, "--metrics-address=", "--health-address="}, args...)
	return &Controller{program: program, args: args, log: log}, nil
}

// Start starts the process.
func (c *Controller) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running != nil {
		return errors.New("the controller runs already")
	}
	c.starts++
	_, _ = fmt.Fprintf(c.log, "--- start %d\n", c.starts)
	cmd := exec.Command(c.program, c.args...)
	cmd.Stdout, cmd.Stderr = c.log, c.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = []string{"HOME=/nonexistent"}
	ended, started := make(chan struct{}), make(chan error, 1)
	go func() {
		// The process dies with the thread that started it, and threads of tests that enter nodes come and go.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		err = cmd.Wait()
		c.mu.Lock()
		_, _ = fmt.Fprintf(c.log, "--- ended: %v\n", err)
		c.running = nil
		c.mu.Unlock()
		close(ended)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start the controller: %w", err)
	}
	c.running, c.ended = cmd, ended
	return nil
}

// Ended is closed when the process that runs now has ended, nil when none was ever started.
func (c *Controller) Ended() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// PID is the running process's, 0 where there is none.
func (c *Controller) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		return 0
	}
	return c.running.Process.Pid
}

// Running tells whether there is a process.
func (c *Controller) Running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running != nil
}

// Kill ends the process with SIGKILL, as a crash does, and returns when it is gone.
func (c *Controller) Kill() { c.end(syscall.SIGKILL) }

// Stop asks the process to end and returns when it has.
func (c *Controller) Stop() { c.end(syscall.SIGTERM) }

// Pause stops the process where it stands; Resume lets it go on as if no time had passed.
func (c *Controller) Pause() { c.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (c *Controller) Resume() { c.signal(syscall.SIGCONT) }

// end sends a signal that ends the process, and waits for the end.
func (c *Controller) end(signal syscall.Signal) {
	if ended := c.signal(signal); ended != nil {
		<-ended
	}
}

// signal returns what is closed at the end of the process, nil where there is no process.
func (c *Controller) signal(signal syscall.Signal) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		return nil
	}
	_ = c.running.Process.Signal(signal)
	return c.ended
}

// grace is how long the process may take to end when it is asked to.
const grace = 10 * time.Second

// Close ends the process, in good order where that is possible so that it gives its lease back, and forgets its log.
func (c *Controller) Close() {
	c.Resume()
	late := time.AfterFunc(grace, c.Kill)
	c.Stop()
	late.Stop()
	_ = c.log.Close()
}

// Words are the last lines that the process wrote.
func (c *Controller) Words(lines int) string {
	text, err := os.ReadFile(c.log.Name())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

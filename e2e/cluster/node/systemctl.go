package node

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// systemctlSocket is where the node's init listens; systemctl is this program under another name, on the node and in pods that enter it.
const systemctlSocket = notifyDir + "/systemctl.sock"

type systemctlRequest struct {
	Args []string `json:"args"`
}

type systemctlReply struct {
	Stdout string `json:"stdout,omitempty"`
	Stderr string `json:"stderr,omitempty"`
	Code   int    `json:"code"`
}

func systemctlMain(args []string) int {
	reply, err := askInit(systemctlSocket, args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "Failed to connect to the node's init:", err)
		return 1
	}
	_, _ = os.Stdout.WriteString(reply.Stdout)
	_, _ = os.Stderr.WriteString(reply.Stderr)
	return reply.Code
}

// askInit is the client's side; the reply comes when the order is carried out.
func askInit(socket string, args []string) (systemctlReply, error) {
	var reply systemctlReply
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return reply, err
	}
	defer func() { _ = conn.Close() }()
	if err := json.NewEncoder(conn).Encode(systemctlRequest{Args: args}); err != nil {
		return reply, err
	}
	err = json.NewDecoder(conn).Decode(&reply)
	return reply, err
}

// listen answers systemctl from now on. An order whose asker died (a pod on the restarted runtime) is carried out all the same.
func (m *machine) listen() error {
	if err := os.MkdirAll(filepath.Dir(systemctlSocket), 0o755); err != nil {
		return err
	}
	listener, err := net.Listen("unix", systemctlSocket)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go m.serve(conn)
		}
	}()
	return nil
}

func (m *machine) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	var request systemctlRequest
	if err := json.NewDecoder(conn).Decode(&request); err != nil {
		return
	}
	m.log.Info("systemctl", "args", request.Args)
	_ = json.NewEncoder(conn).Encode(m.systemctl(request.Args))
}

// systemctl carries out one command line. Exit codes are systemd's: 3 not running, 4 no such unit, 5 not loaded.
func (m *machine) systemctl(args []string) systemctlReply {
	quiet, noBlock := false, false
	var words []string
	for _, arg := range args {
		switch {
		case arg == "-q" || arg == "--quiet":
			quiet = true
		case arg == "--no-block":
			noBlock = true
		case !strings.HasPrefix(arg, "-"):
			words = append(words, arg)
		}
	}
	if len(words) == 0 {
		return systemctlReply{Stderr: "systemctl: no command given\n", Code: 1}
	}
	var reply systemctlReply
	switch verb := words[0]; verb {
	case "daemon-reload", "reset-failed":
	case "reboot":
		go m.reboot()
	case "start", "stop", "restart", "try-restart", "reload-or-restart":
		change := func(s *service) systemctlReply { return changeState(s, verb) }
		if noBlock {
			change = func(s *service) systemctlReply { go changeState(s, verb); return systemctlReply{} }
		}
		reply = m.eachService(words[1:], change)
	case "is-active", "status", "is-enabled", "enable", "disable", "show":
		reply = m.eachService(words[1:], func(s *service) systemctlReply { return tellState(s, verb) })
	default:
		reply = systemctlReply{Stderr: fmt.Sprintf("systemctl: command %q is not known on a test node\n", verb), Code: 1}
	}
	if quiet {
		reply.Stdout = ""
	}
	return reply
}

// eachService runs do for every named unit; the worst exit code wins.
func (m *machine) eachService(names []string, do func(*service) systemctlReply) systemctlReply {
	var all systemctlReply
	if len(names) == 0 {
		return systemctlReply{Stderr: "systemctl: no unit given\n", Code: 1}
	}
	for _, name := range names {
		s := m.services[strings.TrimSuffix(name, ".service")]
		one := systemctlReply{Stderr: fmt.Sprintf("Unit %s not found.\n", name), Code: 5}
		if s != nil {
			one = do(s)
		}
		all = systemctlReply{Stdout: all.Stdout + one.Stdout, Stderr: all.Stderr + one.Stderr, Code: max(all.Code, one.Code)}
	}
	return all
}

func changeState(s *service, verb string) systemctlReply {
	state, _, _ := s.status()
	if verb == "try-restart" && state == inactive {
		return systemctlReply{}
	}
	starts := verb != "stop"
	s.order(want{stop: verb != "start", start: starts})
	if !starts {
		return systemctlReply{}
	}
	if err := s.awaitActive(startPatience); err != nil {
		return systemctlReply{Stderr: fmt.Sprintf("Job for %s.service failed: %v\n", s.unit.Name, err), Code: 1}
	}
	return systemctlReply{}
}

func tellState(s *service, verb string) systemctlReply {
	state, pid, since := s.status()
	code := 0
	if slices.Contains([]string{"is-active", "status"}, verb) && state != active {
		code = 3
	}
	switch verb {
	case "is-active":
		return systemctlReply{Stdout: string(state) + "\n", Code: code}
	case "is-enabled":
		return systemctlReply{Stdout: "enabled\n"}
	case "show":
		return systemctlReply{Stdout: fmt.Sprintf("Id=%s.service\nMainPID=%d\nActiveState=%s\n", s.unit.Name, pid, state)}
	case "status":
		text := fmt.Sprintf("%s.service\n   Active: %s since %s\n Main PID: %d\n  Command: %s\n",
			s.unit.Name, state, since.Format(time.RFC3339), pid, strings.Join(s.unit.Argv, " "))
		return systemctlReply{Stdout: text, Code: code}
	}
	return systemctlReply{}
}

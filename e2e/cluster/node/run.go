package node

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// machine is a booted node as its init sees it.
type machine struct {
	log      *slog.Logger
	procs    *processes
	units    []unit
	services map[string]*service
	mounts   map[string]bool
}

// run supervises the node's services for ever. It is also where a reboot begins anew.
func run() error {
	for _, fd := range []int{reportFD, diskFD} {
		unix.CloseOnExec(fd)
	}
	data, err := os.ReadFile(unitsFile)
	if err != nil {
		return err
	}
	m := &machine{log: slog.New(slog.NewTextHandler(os.Stderr, nil)), procs: newProcesses(), services: map[string]*service{}}
	if err := json.Unmarshal(data, &m.units); err != nil {
		return fmt.Errorf("%s: %w", unitsFile, err)
	}
	if m.mounts, err = mountIDs(); err != nil {
		return err
	}
	for _, u := range m.units {
		if !u.Once {
			m.services[u.Name] = newService(u, m.procs, m.log)
			go m.services[u.Name].keep()
		}
	}
	go m.procs.reap()
	if err := m.listen(); err != nil {
		return err
	}
	if err := m.startUnits(); err != nil {
		m.log.Error("boot", "error", err)
		report(bootReport{Error: err.Error()})
	} else {
		report(bootReport{Booted: true})
	}
	select {}
}

// startUnits boots: each unit waits for the one it comes after. A unit that does not come up is kept on trying, like on a real machine.
func (m *machine) startUnits() error {
	for _, u := range m.units {
		if before := m.services[u.After]; before != nil {
			if err := before.awaitActive(startPatience); err != nil {
				return err
			}
		}
		if !u.Once {
			m.services[u.Name].order(want{start: true})
			continue
		}
		child, err := m.procs.start(u)
		if err != nil {
			return err
		}
		if status := <-child.exited; status.ExitStatus() != 0 {
			return fmt.Errorf("unit %q: %s", u.Name, describe(status))
		}
	}
	return nil
}

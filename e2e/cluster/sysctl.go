package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// kubeletSysctls are the settings of the whole machine that a kubelet changes when it starts.
var kubeletSysctls = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

const sysctlFile = "sysctls.json"

// savedSysctls are the values from before the first kubelet of any cluster, kept until the last cluster with kubelets has gone.
type savedSysctls struct {
	Values  map[string]string `json:"values"`
	Holders []string          `json:"holders"`
}

func holdSysctls(ctx context.Context, base, name string) error {
	unlock, err := lockBase(ctx, base)
	if err != nil {
		return err
	}
	defer unlock()
	saved, err := loadSysctls(base)
	if errors.Is(err, fs.ErrNotExist) {
		saved, err = readSysctls()
	}
	if err != nil {
		return fmt.Errorf("saving sysctls: %w", err)
	}
	if !slices.Contains(saved.Holders, name) {
		saved.Holders = append(saved.Holders, name)
	}
	return saved.save(base)
}

func releaseSysctls(ctx context.Context, base, name string) error {
	unlock, err := lockBase(ctx, base)
	if err != nil {
		return err
	}
	defer unlock()
	saved, err := loadSysctls(base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("restoring sysctls: %w", err)
	}
	saved.Holders = slices.DeleteFunc(saved.Holders, func(holder string) bool {
		_, err := os.Stat(filepath.Join(base, holder))
		return holder == name || errors.Is(err, fs.ErrNotExist)
	})
	if len(saved.Holders) > 0 {
		return saved.save(base)
	}
	var errs []error
	for key, value := range saved.Values {
		if now, err := os.ReadFile(sysctlPath(key)); err == nil && string(now) == value {
			continue
		}
		errs = append(errs, os.WriteFile(sysctlPath(key), []byte(value), 0))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("restoring sysctls: %w", err)
	}
	return os.Remove(filepath.Join(base, sysctlFile))
}

func sysctlPath(key string) string { return filepath.Join("/proc/sys", key) }

func readSysctls() (savedSysctls, error) {
	saved := savedSysctls{Values: map[string]string{}}
	for _, key := range kubeletSysctls {
		value, err := os.ReadFile(sysctlPath(key))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return saved, err
		}
		saved.Values[key] = string(value)
	}
	return saved, nil
}

func loadSysctls(base string) (savedSysctls, error) {
	var saved savedSysctls
	data, err := os.ReadFile(filepath.Join(base, sysctlFile))
	if err != nil {
		return saved, err
	}
	return saved, json.Unmarshal(data, &saved)
}

// save is atomic: half a file would lose the machine's values.
func (s savedSysctls) save(base string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	next := filepath.Join(base, "."+sysctlFile)
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(base, sysctlFile))
}

package payload

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// machines are the kinds of programs that run on an architecture, the main one first.
var machines = map[string][]elf.Machine{
	"386":      {elf.EM_386},
	"amd64":    {elf.EM_X86_64, elf.EM_386},
	"arm":      {elf.EM_ARM},
	"arm64":    {elf.EM_AARCH64, elf.EM_ARM},
	"loong64":  {elf.EM_LOONGARCH},
	"mips":     {elf.EM_MIPS},
	"mips64":   {elf.EM_MIPS},
	"mips64le": {elf.EM_MIPS},
	"mipsle":   {elf.EM_MIPS},
	"ppc64":    {elf.EM_PPC64},
	"ppc64le":  {elf.EM_PPC64},
	"riscv64":  {elf.EM_RISCV},
	"s390x":    {elf.EM_S390},
}

// fits says whether a program for a machine runs on an architecture. Of an architecture that is not known every program is believed.
func fits(machine elf.Machine, arch string) bool {
	known, ok := machines[arch]
	return !ok || slices.Contains(known, machine)
}

// program is what Linux finds at the beginning of a file that it is told to run.
type program struct {
	// interpreter is what follows #!, argument what follows that.
	interpreter, argument string
	// machine is what an ELF program is for, loader the dynamic linker that it asks for; "" for none, or for one too far into the file.
	machine elf.Machine
	loader  string
}

// recognise reads the beginning of an executable. The error says why Linux would not run it.
func recognise(head []byte) (program, error) {
	switch {
	case len(head) == 0:
		return program{}, fmt.Errorf("is empty")
	case bytes.HasPrefix(head, []byte("#!")):
		line, _, _ := bytes.Cut(head[2:], []byte("\n"))
		if bytes.HasSuffix(line, []byte("\r")) {
			return program{}, fmt.Errorf("its first line ends as on Windows, so that Linux looks for %q", strings.TrimLeft(string(line), " \t"))
		}
		interpreter, argument, _ := strings.Cut(strings.Trim(string(line), " \t"), " ")
		if interpreter == "" {
			return program{}, fmt.Errorf("has a first line #! that names no interpreter")
		}
		return program{interpreter: interpreter, argument: strings.TrimSpace(argument)}, nil
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		return inspectELF(head)
	}
	return program{}, fmt.Errorf("is neither a program (ELF) nor a script (#!)")
}

// inspectELF reads the header and, as far as the beginning of the file has them, the program headers.
func inspectELF(head []byte) (program, error) {
	if len(head) < 64 {
		return program{}, fmt.Errorf("is a program (ELF) of %d bytes, which is cut off", len(head))
	}
	var order binary.ByteOrder = binary.LittleEndian
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	p := program{machine: elf.Machine(order.Uint16(head[18:]))}
	wide := elf.Class(head[elf.EI_CLASS]) == elf.ELFCLASS64
	at, size, count := uint64(order.Uint32(head[28:])), order.Uint16(head[42:]), order.Uint16(head[44:])
	if wide {
		at, size, count = order.Uint64(head[32:]), order.Uint16(head[54:]), order.Uint16(head[56:])
	}
	for range count {
		header := slice(head, at, uint64(size))
		if len(header) < 32 || (wide && len(header) < 56) {
			break
		}
		if elf.ProgType(order.Uint32(header)) == elf.PT_INTERP {
			offset, length := uint64(order.Uint32(header[4:])), uint64(order.Uint32(header[16:]))
			if wide {
				offset, length = order.Uint64(header[8:]), order.Uint64(header[32:])
			}
			p.loader = string(bytes.TrimRight(slice(head, offset, length), "\x00"))
			break
		}
		at += uint64(size)
	}
	return p, nil
}

// slice is a part of the data, nothing where it is not all there.
func slice(data []byte, offset, length uint64) []byte {
	if n := uint64(len(data)); offset > n || length > n-offset {
		return nil
	}
	return data[offset : offset+length]
}

func machineName(m elf.Machine) string { return strings.ToLower(strings.TrimPrefix(m.String(), "EM_")) }

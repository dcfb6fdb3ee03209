package process

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/instarhq/instar/plugins/compute/process/launch"
)

// machines are the names of this node's architectures in ELF files.
var machines = map[string]elf.Machine{
	"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "386": elf.EM_386, "arm": elf.EM_ARM,
	"riscv64": elf.EM_RISCV, "ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390, "loong64": elf.EM_LOONGARCH,
}

// diagnose says why the kernel would not execute a program: its error numbers name the program where they
// mean an interpreter, a loader or a directory.
func diagnose(p launch.Plan, errno syscall.Errno) string {
	program, path := p.Args[0], p.Path
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Sprintf("there is no %q", program)
	}
	if err == nil && info.IsDir() {
		return fmt.Sprintf("%q is a directory", program)
	}
	if err == nil && info.Mode()&0o111 == 0 {
		return fmt.Sprintf("%q is not executable: its mode is %s (chmod +x before packing it)", program, info.Mode())
	}
	if errno == syscall.E2BIG {
		return "arguments and environment together are too long"
	}
	if why := diagnoseContent(program, path, errno); why != "" {
		return why
	}
	if errno == syscall.EACCES && p.UID != nil {
		return fmt.Sprintf("user %d, which the instance runs as, may not execute %q: look at the permissions of it and of "+
			"every directory above, and at noexec mounts", *p.UID, program)
	}
	return fmt.Sprintf("%q cannot be executed: %v", program, errno)
}

func diagnoseContent(program, path string, errno syscall.Errno) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	head, err := bufio.NewReaderSize(file, 256).Peek(256)
	if err != nil && !errors.Is(err, io.EOF) {
		return ""
	}
	text := string(head)
	switch {
	case strings.HasPrefix(text, "#!"):
		return diagnoseScript(program, text)
	case strings.HasPrefix(text, elf.ELFMAG):
		return diagnoseELF(program, file)
	case errno == syscall.ENOEXEC && text == "":
		return fmt.Sprintf("%q is empty", program)
	case errno == syscall.ENOEXEC:
		return fmt.Sprintf("%q is neither a program for Linux nor a script that begins with #!", program)
	}
	return ""
}

func diagnoseScript(program, text string) string {
	line, _, _ := strings.Cut(text[2:], "\n")
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return fmt.Sprintf("%q begins with #! and names no interpreter", program)
	}
	if strings.HasSuffix(line, "\r") {
		return fmt.Sprintf("%q has Windows line ends: its interpreter would be %q", program, fields[0]+"\r")
	}
	if !filepath.IsAbs(fields[0]) {
		return fmt.Sprintf("%q names the interpreter %q, which must be an absolute path", program, fields[0])
	}
	if _, err := os.Stat(fields[0]); err != nil {
		return fmt.Sprintf("%q needs the interpreter %s, which this node does not have", program, fields[0])
	}
	return ""
}

func diagnoseELF(program string, file io.ReaderAt) string {
	f, err := elf.NewFile(file)
	if err != nil {
		return fmt.Sprintf("%q is a damaged program: %v", program, err)
	}
	if want, ok := machines[runtime.GOARCH]; ok && f.Machine != want {
		return fmt.Sprintf("%q is for %s, and this node is %s", program, strings.TrimPrefix(f.Machine.String(), "EM_"),
			strings.TrimPrefix(want.String(), "EM_"))
	}
	for _, segment := range f.Progs {
		if segment.Type != elf.PT_INTERP {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(segment.Open(), 4096))
		if err != nil {
			return ""
		}
		loader := strings.TrimRight(string(data), "\x00")
		if _, err := os.Stat(loader); err != nil {
			return fmt.Sprintf("%q needs the loader %s, which this node does not have: build it for this system, or statically", program, loader)
		}
	}
	return ""
}

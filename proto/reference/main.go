// Command reference writes docs/drivers/reference.md: the driver protocol as its .proto files and their
// comments have it. It reads what `buf build -o -` prints; `make proto` runs it.
package main

import (
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// protocol is the package that the reference is about.
const protocol = "instar.driver.v1"

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	data, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(data, &set); err != nil {
		return fmt.Errorf("what buf build has printed: %w", err)
	}
	text, err := Render(&set, protocol)
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return err
}

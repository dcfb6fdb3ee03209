package cluster

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"google.golang.org/grpc"
	grpccredentials "google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/encoding/protowire"
)

// etcd is a cluster of the distribution's etcd. The load speaks gRPC with requests that it encodes by
// hand, which costs it less than etcd's own client would.
type etcd struct {
	processes
	program        string
	clients, peers map[string]string
	creds          *credentials
	conns          map[string]*grpc.ClientConn // for Leader and Level
}

// StartEtcd starts three nodes with files under dir; an error if etcd is not installed.
func StartEtcd(ctx context.Context, dir string) (Cluster, error) {
	program, err := exec.LookPath("etcd")
	if err != nil {
		return nil, fmt.Errorf("install what is called etcd-server on Debian: %w", err)
	}
	if err := prepare(dir); err != nil {
		return nil, err
	}
	c := &etcd{program: program, processes: processes{dir: dir, running: map[string]*exec.Cmd{}}, conns: map[string]*grpc.ClientConn{}}
	c.command = c.node
	if c.clients, err = freeAddresses(); err != nil {
		return nil, err
	}
	if c.peers, err = freeAddresses(); err != nil {
		return nil, err
	}
	if c.creds, err = loadCredentials(dir, clientName); err != nil {
		return nil, err
	}
	for _, node := range Nodes {
		if c.conns[node], err = c.connect(node); err == nil {
			err = c.Start(node)
		}
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	if err := awaitReady(ctx, c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// node runs etcd as it comes, but for TLS.
func (c *etcd) node(node string) *exec.Cmd {
	var members []string
	for name, address := range c.peers {
		members = append(members, name+"=https://"+address)
	}
	cert, key, ca := certFile(c.dir, node), keyFile(c.dir, node), certFile(c.dir, "ca")
	client, peer := "https://"+c.clients[node], "https://"+c.peers[node]
	return exec.Command(c.program, "--name", node, "--data-dir", c.dirOf(node),
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", strings.Join(members, ","), "--initial-cluster-state", "new",
		"--cert-file", cert, "--key-file", key, "--trusted-ca-file", ca, "--client-cert-auth",
		"--peer-cert-file", cert, "--peer-key-file", key, "--peer-trusted-ca-file", ca, "--peer-client-cert-auth",
		"--logger", "zap", "--log-level", "error")
}

func (c *etcd) connect(node string) (*grpc.ClientConn, error) {
	tls := c.creds.Client(node)
	return grpc.NewClient(c.clients[node],
		grpc.WithTransportCredentials(grpccredentials.NewTLS(tls)),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.WaitForReady(true)))
}

// raw is a codec for messages that are encoded already.
type raw struct{}

// Name implements encoding.Codec.
func (raw) Name() string { return "proto" }

// Marshal implements encoding.Codec.
func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

// Unmarshal implements encoding.Codec.
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

// Writer implements Cluster.
func (c *etcd) Writer(_ context.Context, node string) (Writer, error) {
	conn, err := c.connect(node)
	if err != nil {
		return nil, err
	}
	return &etcdWriter{conn: conn}, nil
}

type etcdWriter struct{ conn *grpc.ClientConn }

// Write implements Writer: etcdserverpb.PutRequest has the key in field 1 and the value in field 2.
func (w *etcdWriter) Write(ctx context.Context, key string) error {
	request := protowire.AppendTag(make([]byte, 0, ValueBytes+len(key)+16), 1, protowire.BytesType)
	request = protowire.AppendString(request, key)
	request = protowire.AppendTag(request, 2, protowire.BytesType)
	request = protowire.AppendBytes(request, value)
	var response []byte
	return w.conn.Invoke(ctx, "/etcdserverpb.KV/Put", &request, &response)
}

// Close implements Writer.
func (w *etcdWriter) Close() error { return w.conn.Close() }

// etcdStatus is what matters of etcdserverpb.StatusResponse.
type etcdStatus struct{ member, leader, index, errors uint64 }

func (c *etcd) status(ctx context.Context, node string) (status etcdStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var request, response []byte
	if err := c.conns[node].Invoke(ctx, "/etcdserverpb.Maintenance/Status", &request, &response); err != nil {
		return status, err
	}
	err = fields(response, func(number protowire.Number, n uint64, data []byte) error {
		switch number {
		case 1: // header
			return fields(data, func(number protowire.Number, n uint64, _ []byte) error {
				if number == 2 {
					status.member = n
				}
				return nil
			})
		case 4:
			status.leader = n
		case 5:
			status.index = n
		case 8:
			status.errors++
		}
		return nil
	})
	return status, err
}

// fields goes through a message's fields.
func fields(message []byte, yield func(number protowire.Number, n uint64, data []byte) error) error {
	for len(message) > 0 {
		number, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return protowire.ParseError(size)
		}
		message = message[size:]
		var n uint64
		var data []byte
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			data, size = protowire.ConsumeBytes(message)
		default:
			size = protowire.ConsumeFieldValue(number, kind, message)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		message = message[size:]
		if err := yield(number, n, data); err != nil {
			return err
		}
	}
	return nil
}

// Leader implements Cluster.
func (c *etcd) Leader(ctx context.Context) (string, error) {
	for _, node := range Nodes {
		if c.running[node] == nil {
			continue
		}
		if status, err := c.status(ctx, node); err == nil && status.leader == status.member && status.member != 0 {
			return node, nil
		}
	}
	return "", errors.New("there is no leader")
}

// Level implements Cluster.
func (c *etcd) Level(ctx context.Context) bool {
	first := uint64(0)
	for _, node := range Nodes {
		status, err := c.status(ctx, node)
		if err != nil || status.leader == 0 || status.errors > 0 {
			return false
		}
		if first == 0 {
			first = status.index
		}
		if status.index < first {
			return false
		}
	}
	return true
}

// Close implements Cluster.
func (c *etcd) Close() error {
	var errs []error
	for _, conn := range c.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(append(errs, c.killAll())...)
}

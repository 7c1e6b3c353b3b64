package main

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// etcdStore is a client of one etcd node.
type etcdStore struct{ c *clientv3.Client }

func openEtcd(node string) (store, error) {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{node}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return nil, fmt.Errorf("connecting to etcd at %s: %w", node, err)
	}
	return &etcdStore{c}, nil
}

func (s *etcdStore) create(ctx context.Context, key, value string) (int64, error) {
	return s.put(ctx, key, value)
}

func (s *etcdStore) put(ctx context.Context, key, value string) (int64, error) {
	r, err := s.c.Put(ctx, key, value)
	if err != nil {
		return 0, err
	}
	return r.Header.Revision, nil
}

func (s *etcdStore) get(ctx context.Context, key string, stale bool) (string, error) {
	var opts []clientv3.OpOption
	if stale {
		opts = append(opts, clientv3.WithSerializable())
	}
	r, err := s.c.Get(ctx, key, opts...)
	if err != nil {
		return "", err
	}
	if len(r.Kvs) != 1 {
		return "", fmt.Errorf("%d values of key %s", len(r.Kvs), key)
	}
	return string(r.Kvs[0].Value), nil
}

func (s *etcdStore) close() error { return s.c.Close() }

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

func (s *etcdStore) begin(context.Context, string) error { return nil } // keys are the clients' own already

func (s *etcdStore) bulk(ctx context.Context, keys, values []string) (int64, error) {
	puts := make([]clientv3.Op, len(keys))
	for i, key := range keys {
		puts[i] = clientv3.OpPut(key, values[i])
	}
	r, err := s.c.Txn(ctx).Then(puts...).Commit()
	if err != nil {
		return 0, err
	}
	if !r.Succeeded || len(r.Responses) != len(keys) {
		return 0, fmt.Errorf("a transaction of %d puts: succeeded %v, %d answers", len(keys), r.Succeeded, len(r.Responses))
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

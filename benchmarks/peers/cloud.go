package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

// The part of the vendor's API that an upgrade needs.

type engine struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	Status        string `json:"status"`
	Version       string `json:"version"`
	LatestVersion string `json:"latestVersion"`
	LatestJobID   int64  `json:"latestJobId"`
}

type job struct {
	ID        int64  `json:"id"`
	Status    string `json:"status"`
	StartTime int64  `json:"startTime"`
	EndTime   int64  `json:"endTime"`
}

type accepted struct {
	JobID int64 `json:"jobId"`
}

// refusedError is the vendor's answer to a call that it will not do.
type refusedError struct {
	status int
	body   string
}

func (e *refusedError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.status, e.body) }

func isRefused(err error) bool {
	refused := &refusedError{}
	return errors.As(err, &refused) && refused.status >= 400 && refused.status < 500
}

type cloud struct {
	http     *http.Client
	endpoint string
}

func newCloud(endpoint string, connections int) *cloud {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// The default of 2 would open and close a connection for nearly every call of a burst.
	transport.MaxIdleConnsPerHost = connections
	transport.MaxIdleConns = connections
	return &cloud{
		http:     &http.Client{Transport: transport, Timeout: 20 * time.Second},
		endpoint: endpoint,
	}
}

func (c *cloud) showEngine(ctx context.Context, token string, spec *Spec) (*engine, error) {
	found := &engine{}
	return found, c.call(ctx, http.MethodGet, spec, "", token, nil, found)
}

func (c *cloud) showJob(ctx context.Context, token string, spec *Spec, id int64) (*job, error) {
	found := &job{}
	return found, c.call(ctx, http.MethodGet, spec, fmt.Sprintf("/jobs/%d", id), token, nil, found)
}

func (c *cloud) upgrade(ctx context.Context, token string, spec *Spec) (*accepted, error) {
	answer := &accepted{}
	body := map[string]string{"version": spec.Version}
	return answer, c.call(ctx, http.MethodPut, spec, "/upgrade", token, body, answer)
}

// call makes one call; while the vendor throttles, it waits, longer each time, and calls again.
func (c *cloud) call(
	ctx context.Context, method string, spec *Spec, path, token string, body, answer any,
) error {
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := c.once(ctx, method, spec, path, token, body, answer)
		refused := &refusedError{}
		if !errors.As(err, &refused) || refused.status != http.StatusTooManyRequests {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait/2 + rand.N(wait/2)):
		}
	}
}

func (c *cloud) once(
	ctx context.Context, method string, spec *Spec, path, token string, body, answer any,
) error {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(encoded)
	}
	url := fmt.Sprintf(
		"%s/v2/%s/enginemgr/engines/%s%s", c.endpoint, spec.ProjectID, spec.EngineID, path,
	)
	request, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		return err
	}
	request.Header.Set("X-Auth-Token", token)
	request.Header.Set("Content-Type", "application/json;charset=UTF-8")
	request.Header.Set("Accept", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		return &refusedError{response.StatusCode, string(text)}
	}
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return err
	}
	// To the last byte, or the connection is not used again.
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

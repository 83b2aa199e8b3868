package main

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// load makes the same GET from 32 connections for so many seconds and prints the calls a second.
func load(url string, seconds float64) error {
	const connections = 32
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = connections
	caller := &http.Client{Transport: transport}
	var calls, failures atomic.Int64
	deadline := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	var group sync.WaitGroup
	for range connections {
		group.Go(func() {
			for time.Now().Before(deadline) {
				if err := get(caller, url); err != nil {
					failures.Add(1)
					continue
				}
				calls.Add(1)
			}
		})
	}
	group.Wait()
	if failures.Load() > 0 {
		return fmt.Errorf("%d of %d calls failed", failures.Load(), calls.Load())
	}
	fmt.Printf("%.0f\n", float64(calls.Load())/seconds)
	return nil
}

func get(caller *http.Client, url string) error {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("X-Auth-Token", "load")
	response, err := caller.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP %d", response.StatusCode)
	}
	return nil
}

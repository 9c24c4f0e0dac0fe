// go-redis on its defaults. What it does and prints: ../README.md.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

type writer struct {
	number       int
	mutex        sync.Mutex
	acknowledged []int
	wantedSince  time.Time
	figures
}

type figures struct {
	acked, errors int
	gap           time.Duration
	lastError     string
}

func (w *writer) key(n int) string {
	return fmt.Sprintf("go-redis:%d:%d:%d", os.Getpid(), w.number, n)
}

func (w *writer) run(client *redis.ClusterClient, pause time.Duration, stop <-chan struct{}) {
	for n := 1; ; n++ {
		w.mutex.Lock()
		if w.wantedSince.IsZero() {
			w.wantedSince = time.Now()
		}
		w.mutex.Unlock()
		err := client.Set(context.Background(), w.key(n), n, 0).Err()
		wait := pause
		w.mutex.Lock()
		if err != nil {
			w.errors++
			w.lastError = err.Error()
			wait = 10 * time.Millisecond
		} else {
			w.acked++
			w.acknowledged = append(w.acknowledged, n)
			w.gap = max(w.gap, time.Since(w.wantedSince))
			w.wantedSince = time.Time{}
		}
		w.mutex.Unlock()
		select {
		case <-stop:
			return
		case <-time.After(wait):
		}
	}
}

func (w *writer) endPhase() figures {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	found := w.figures
	if !w.wantedSince.IsZero() {
		found.gap = max(found.gap, time.Since(w.wantedSince))
		w.wantedSince = time.Now()
	}
	w.figures = figures{}
	return found
}

func (w *writer) begun() bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return len(w.acknowledged) > 0
}

func (w *writer) readBack(client *redis.ClusterClient, deadline time.Time) (read, lost, unreadable int) {
	for _, n := range w.acknowledged {
		for {
			found, err := client.Get(context.Background(), w.key(n)).Result()
			if err == nil || err == redis.Nil {
				read++
				if found != strconv.Itoa(n) {
					lost++
				}
				break
			}
			if time.Now().After(deadline) {
				unreadable++
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return read, lost, unreadable
}

func phase(name string, writers []*writer) map[string]any {
	said := map[string]any{"phase": name, "last_error": nil}
	var all figures
	for _, w := range writers {
		one := w.endPhase()
		all.acked += one.acked
		all.errors += one.errors
		all.gap = max(all.gap, one.gap)
		if one.lastError != "" {
			said["last_error"] = one.lastError
		}
	}
	said["acked"], said["errors"] = all.acked, all.errors
	said["longest_gap_ms"] = math.Round(all.gap.Seconds()*10_000) / 10
	return said
}

func say(said map[string]any) {
	line, err := json.Marshal(said)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func number(name string) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		panic(err)
	}
	return n
}

func main() {
	password, err := os.ReadFile(os.Getenv("VALKEEPER_PASSWORD_FILE"))
	if err != nil {
		panic(err)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:    strings.Split(os.Getenv("VALKEEPER_SEEDS"), ","),
		Username: os.Getenv("VALKEEPER_USERNAME"),
		Password: strings.TrimSpace(string(password)),
	})
	pause := time.Duration(number("VALKEEPER_PAUSE_MS")) * time.Millisecond
	stop := make(chan struct{})
	writers := make([]*writer, number("VALKEEPER_WRITERS"))
	var running sync.WaitGroup
	for i := range writers {
		w := &writer{number: i}
		writers[i] = w
		running.Go(func() { w.run(client, pause, stop) })
	}
	for _, w := range writers {
		for !w.begun() {
			time.Sleep(10 * time.Millisecond)
		}
	}
	say(map[string]any{"phase": "ready"})
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		say(phase(strings.TrimSpace(lines.Text()), writers))
	}
	close(stop)
	running.Wait()

	said := phase("end", writers)
	var read, lost, unreadable int
	deadline := time.Now().Add(time.Minute)
	for _, w := range writers {
		r, l, u := w.readBack(client, deadline)
		read, lost, unreadable = read+r, lost+l, unreadable+u
	}
	said["read"], said["lost"], said["unreadable"] = read, lost, unreadable
	say(said)
}

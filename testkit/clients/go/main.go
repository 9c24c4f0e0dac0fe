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
	acked  int
	errors map[string]int
	gap    time.Duration
}

func (w *writer) key(n int) string {
	return fmt.Sprintf("go-redis:%d:%d:%d", os.Getpid(), w.number, n)
}

func (w *writer) run(client redis.UniversalClient, pause time.Duration, stop <-chan struct{}) {
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
			w.errors[err.Error()]++
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
	w.figures = figures{errors: map[string]int{}}
	return found
}

func (w *writer) begun() bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return len(w.acknowledged) > 0
}

func (w *writer) readBack(client redis.UniversalClient, deadline time.Time) (read, lost, unreadable int) {
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
	all := figures{errors: map[string]int{}}
	for _, w := range writers {
		one := w.endPhase()
		all.acked += one.acked
		all.gap = max(all.gap, one.gap)
		for text, count := range one.errors {
			all.errors[text] += count
		}
	}
	gap := math.Round(all.gap.Seconds()*10_000) / 10
	return map[string]any{"phase": name, "acked": all.acked, "errors": all.errors, "longest_gap_ms": gap}
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

func connect() redis.UniversalClient {
	file, err := os.ReadFile(os.Getenv("VALKEEPER_PASSWORD_FILE"))
	if err != nil {
		panic(err)
	}
	username, password := os.Getenv("VALKEEPER_USERNAME"), strings.TrimSpace(string(file))
	if sentinels := os.Getenv("VALKEEPER_SENTINELS"); sentinels != "" {
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName:       os.Getenv("VALKEEPER_PRIMARY_NAME"),
			SentinelAddrs:    strings.Split(sentinels, ","),
			SentinelUsername: username,
			SentinelPassword: password,
			Username:         username,
			Password:         password,
		})
	}
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:    strings.Split(os.Getenv("VALKEEPER_SEEDS"), ","),
		Username: username,
		Password: password,
	})
}

func main() {
	client := connect()
	pause := time.Duration(number("VALKEEPER_PAUSE_MS")) * time.Millisecond
	stop := make(chan struct{})
	writers := make([]*writer, number("VALKEEPER_WRITERS"))
	var running sync.WaitGroup
	for i := range writers {
		w := &writer{number: i, figures: figures{errors: map[string]int{}}}
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

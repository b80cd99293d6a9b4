package registry

import "time"

// Hasten has the keeper go by an hour of some seconds.
func (k *SeenKeeper) Hasten(hour time.Duration) {
	k.times = seenTimes{kept: hour, lease: hour * 3 / 2, interval: hour / 3, least: hour * 5 / 6, farewell: hour / 6}
}

"""Night by itself: which job is due, by values and pure rules (`settings`, `cron`, `decide`), its notes in the metadata group (`notes`), and the coordinator that
runs one job at a time (`scheduler`). What a job does is handed in by `server`; what wakes the coordinator is an alarm clock (`Alarm`), in production APScheduler."""

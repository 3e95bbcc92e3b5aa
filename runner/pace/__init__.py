"""When requests may be sent: the rate, the tasks in flight, the polls. Pure; time is handed in."""

"""The state database: every line of SQL of the runner is in this package.

sqlite-utils shapes the database and serves lists and reports (`store.tables`, which says where plain SQL stays for speed).
"""

# SPDX-License-Identifier: Apache-2.0
"""What the journal says to SQLite."""

TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS jobs (
    tag TEXT PRIMARY KEY, file TEXT, id TEXT, state TEXT NOT NULL, is_open INTEGER NOT NULL,
    requests INTEGER NOT NULL, done INTEGER NOT NULL, failed INTEGER NOT NULL,
    since TEXT NOT NULL, problem TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS questions (
    key TEXT PRIMARY KEY, job TEXT, asked INTEGER NOT NULL, terms TEXT NOT NULL, schema TEXT,
    reply TEXT, error TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pictures (
    digest TEXT PRIMARY KEY, address TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS held ON questions (job) WHERE job IS NOT NULL;
"""

FACT = "SELECT value FROM facts WHERE name = ?"
FORGET = "DELETE FROM facts WHERE name = ?"
KEEP = "INSERT INTO facts VALUES (?, ?)"

PICTURE = "SELECT address FROM pictures WHERE digest = ? AND until > ?"
KEEP_PICTURE = "INSERT OR REPLACE INTO pictures VALUES (?, ?, ?)"

_COLUMNS = "tag, file, id, state, is_open, requests, done, failed, since, problem"
JOBS = f"SELECT {_COLUMNS} FROM jobs ORDER BY rowid"
OPEN_JOBS = f"SELECT {_COLUMNS} FROM jobs WHERE is_open ORDER BY rowid"
ADD_JOB = f"INSERT INTO jobs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

COUNT = "UPDATE jobs SET done = done + ?, failed = failed + ? WHERE tag = ?"

LOOK_UP = "SELECT job, asked, terms, reply, error FROM questions WHERE key = ?"
HOLDS = "SELECT 1 FROM questions WHERE key = ? AND job = ?"
KNOWS = "SELECT 1 FROM questions WHERE key = ?"
HELD = "SELECT count(*) FROM questions WHERE job = ?"
BOUND = """
SELECT 1 FROM jobs WHERE is_open UNION ALL SELECT 1 FROM questions WHERE reply NOT NULL LIMIT 1
"""
SCHEMAS = "SELECT DISTINCT schema FROM questions WHERE reply NOT NULL AND schema NOT NULL"
# A question is given to a job, asked once more.
ASK = """
INSERT INTO questions (key, job, asked, terms, schema) VALUES (?, ?, 1, ?, ?)
ON CONFLICT (key) DO UPDATE SET
    job = excluded.job, asked = asked + 1, terms = excluded.terms, schema = excluded.schema,
    error = NULL
"""
# Nobody took the job.
UNASK = "UPDATE questions SET job = NULL, asked = asked - 1 WHERE job = ?"
ANSWER = "UPDATE questions SET reply = ?, error = ? WHERE key = ?"
# What has come back is held no more.
FREE = "UPDATE questions SET job = NULL WHERE job = ? AND (reply NOT NULL OR error NOT NULL)"
# No more will come back.
END = "UPDATE questions SET job = NULL, error = ? WHERE job = ?"

"""Background jobs: beat puts one on the queue at each interval, the worker carries it out.

The queue is a Redis list. A job under way sits in a second list, so that one whose worker was killed is
found at the next start and done again; jobs are therefore written to be repeatable.
"""

QUEUE = "jobs:queue"
UNDER_WAY = "jobs:under-way"

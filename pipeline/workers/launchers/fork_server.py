"""What a fork server imports before all else: it ends with the supervisor that started it, even if that is killed.

Its imports take seconds, in which it would not notice. The kernel goes by the thread that started it: a study that is
run in a thread has a fork server of its own.
"""

from pipeline.core.processes.process_tree import die_with_parent

die_with_parent()

"""What the player of seeds prints can be read by a program."""
import re
import subprocess


def test_hashes_of_several_workers_are_whole_lines(player):
    said = subprocess.run([player, "--seeds", "1..500", "--clients", "1", "--rounds", "1",
                           "--hashes", "--workers", "2", "--quiet"],
                          check=True, text=True, stdout=subprocess.PIPE).stdout
    lines = [re.fullmatch(r"(\d+) [0-9a-f]{16}", line) for line in said.splitlines()]
    assert sorted(int(line[1]) for line in lines) == list(range(1, 501))

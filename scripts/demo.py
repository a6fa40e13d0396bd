"""About two seconds of many small and some large objects: an index over made-up records, built, changed and searched."""
import random

random.seed(1234567)
WORDS = ["".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=random.randint(2, 24))) for _ in range(20000)]


def record(number):
    return {"id": number, "words": random.choices(WORDS, k=8), "text": "x" * random.randint(10, 900)}


records = {number: record(number) for number in range(45000)}
index = {}
for number, entry in records.items():
    for word in entry["words"]:
        index.setdefault(word, set()).add(number)

for _ in range(45000):
    number = random.randrange(45000)
    for word in records[number]["words"]:
        index[word].discard(number)
    records[number] = record(number)
    for word in records[number]["words"]:
        index.setdefault(word, set()).add(number)

lines = [" ".join(sorted(entry["words"])) + str(number) for number, entry in records.items()]
lines.sort()
print(len(lines), sum(map(len, lines)))

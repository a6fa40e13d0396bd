"""Inputs of the real programs: scripts, and writers of files.  All of it is made on the spot, the same each time.

A count in a script stands between two @: sized() multiplies it by the comparison's scale.
"""

import random
import re


def sized(text, scale):
    return re.sub(r"@(\d+)@", lambda m: str(max(1, int(int(m.group(1)) * scale))), text)


# ---- scripting languages ----

PYTHON_SCRIPT = r"""
import hashlib, json, random
rng = random.Random(7)
class Node:
    def __init__(self, key, parent):
        self.key, self.parent, self.children, self.tags = key, parent, [], {}
nodes = [Node('root', None)]
for i in range(@120000@):
    parent = nodes[rng.randrange(len(nodes))]
    node = Node('n%d-%d' % (i, rng.randrange(10**9)), parent)
    node.tags['depth'] = len(parent.tags) + i % 7
    parent.children.append(node)
    nodes.append(node)
index = {n.key: [c.key for c in n.children] for n in nodes}
text = json.dumps(index)
back = json.loads(text)
words = sorted(w for kids in back.values() for k in kids for w in k.split('-'))
for step in range(10):
    drop = [k for k in back if rng.random() < 0.2]
    for k in drop:
        del back[k]
    for k in drop:
        back[k + str(step)] = [k * (step % 3 + 1), (step, k), {k: step}]
print(len(text), hashlib.sha256(text.encode()).hexdigest(), words[:5], len(back))
"""

NODE_SCRIPT = r"""
const crypto = require('crypto'), zlib = require('zlib');
let x = 12345;
const rnd = n => { x = (Math.imul(x, 1103515245) + 12345) >>> 0; return (x >>> 8) % n; };
const hash = crypto.createHash('sha256');
const live = new Map();
for (let i = 0; i < @700000@; i++) {
  const k = rnd(20000);
  if (live.has(k)) { hash.update(live.get(k).subarray(0, 16)); live.delete(k); }
  else live.set(k, Buffer.alloc(16 + rnd(8000), i & 255));
}
const objects = [];
for (let i = 0; i < @300000@; i++) objects.push({ id: i, name: 'o' + rnd(1e6), list: [i, rnd(9)] });
objects.sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id);
const text = JSON.stringify(objects);
hash.update(JSON.stringify(JSON.parse(text).slice(0, 1000)));
for (let i = 0; i < 100; i++)
  hash.update(zlib.inflateSync(zlib.deflateSync(text.slice(i * 20000, i * 20000 + 60000))));
console.log(text.length, live.size, hash.digest('hex'));
"""

PERL_SCRIPT = r"""
use strict; use warnings;
my $x = 99;
sub rnd { $x = ($x * 1103515245 + 12345) % 4294967296; return int($x / 256) % $_[0]; }
my (%count, %lines);
for my $i (1 .. @220000@) {
    my @words = map { 'w' . rnd(30000) } 1 .. 8;
    my $line = join ' ', @words;
    $count{$_}++ for @words;
    push @{ $lines{$words[0]} }, $line;
    delete $lines{ $words[1] } if $i % 3 == 0;
}
my @top = (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 20];
my $text = join "\n", map { @{ $lines{$_} } } sort keys %lines;
$text =~ s/w(\d)(\d*)/$2-$1/g;
my @parts = sort split /[ \n]/, $text;
my $sum = 0;
$sum = ($sum * 31 + length($_) + ord($_)) % 1000000007 for @parts;
print "@top\n", scalar(@parts), " $sum\n";
"""

LUA_SCRIPT = r"""
local x = 4242
local function rnd(n) x = (x * 1103515245 + 12345) % 4294967296; return (x >> 8) % n end
local live, out = {}, {}
for i = 1, @2200000@ do
  local k = rnd(50000) + 1
  if live[k] then live[k] = nil
  else live[k] = { id = i, name = 'item' .. rnd(1000000), list = { i, i + 1 } } end
end
local sum = 0
for k = 1, 50000 do
  if live[k] then
    sum = (sum * 31 + live[k].id) % 1000000007
    out[#out + 1] = live[k].name .. ':' .. #live[k].list
  end
end
table.sort(out)
local text = table.concat(out, ',')
for round = 1, 10 do
  local words = {}
  for w in text:gmatch('[^,]+') do words[#words + 1] = w:reverse() end
  text = table.concat(words, ',')
end
print(#out, sum, #text, text:sub(1, 200))
"""


def script(file, text):
    """A prepare function that writes `text` to `file`."""
    return lambda work: (work / file).write_text(text)


# ---- data base, compiler, archive, history, page description ----

SQL_SCRIPT = """
CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT, city INTEGER, note TEXT);
CREATE TABLE city(id INTEGER PRIMARY KEY, name TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
  INSERT INTO city SELECT i, 'city' || (i * 7919 % 10007) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < @400000@)
  INSERT INTO person SELECT i, 'name' || (i * 48271 % 1000003), i * 31 % 2000 + 1,
    substr('some note that goes with the person', 1 + i % 20, i % 13) FROM n;
CREATE INDEX by_name ON person(name);
CREATE INDEX by_city ON person(city, note);
SELECT c.name, count(*), max(p.name), group_concat(DISTINCT p.note) FROM person p
  JOIN city c ON c.id = p.city GROUP BY c.id ORDER BY c.name LIMIT 200;
UPDATE person SET note = note || name WHERE id % 3 = 0;
DELETE FROM person WHERE city % 5 = 0;
SELECT count(*), sum(length(note)) FROM person a WHERE EXISTS
  (SELECT 1 FROM person b WHERE b.name > a.name AND b.city = a.city);
SELECT upper(name), note FROM person ORDER BY note DESC, name LIMIT 100;
"""


def write_c_source(work, scale):
    """A C file of a few hundred functions with loops, switches and calls among them."""
    rng = random.Random(1)
    lines = ["#include <stdio.h>", "#include <string.h>", "struct cell { int a, b; double c; };"]
    for i in range(int(270 * scale)):
        call = f"f{rng.randrange(i)}(c, n / 2)" if i else "n"
        cases = "\n".join(f"        case {k}: s += c[{rng.randrange(16)}].a * {rng.randrange(99)}"
                          f" + (int)c[{k}].c; break;" for k in range(8))
        lines.append(f"""
int f{i}(struct cell *c, int n)
{{
    int s = {rng.randrange(1000)};
    for (int i = 0; i < n; i++) {{
        c[i & 15].b += s ^ i * {rng.randrange(1, 50)};
        c[(i + {rng.randrange(16)}) & 15].c *= 1.0 + s / {rng.randrange(2, 9)}.0;
        switch ((s + i) & 7) {{
{cases}
        }}
        if (s % {rng.randrange(3, 17)} == 0)
            s -= {call};
    }}
    return s;
}}""")
    (work / "big.c").write_text("\n".join(lines) + "\n")


def write_tree(work, scale):
    """Directories of texts and of less regular files, 18 MB at scale 1."""
    rng = random.Random(2)
    words = [f"word{rng.randrange(10 ** 6)}" for _ in range(4000)]
    for d in range(int(30 * scale)):
        folder = work / "tree" / f"dir{d:02}"
        folder.mkdir(parents=True, exist_ok=True)
        for f in range(20):
            text = " ".join(rng.choices(words, k=2000)).encode()
            (folder / f"file{f:02}").write_bytes(text + rng.randbytes(8000))


def write_history(work, scale):
    """A fast-import stream of 700 commits, and files to add on top of them."""
    rng = random.Random(3)
    files = [[f"line {rng.randrange(10 ** 6)}\n" for _ in range(150)] for _ in range(120)]
    with open(work / "history", "w", encoding="ascii") as out:
        for i in range(700):
            out.write(f"commit refs/heads/main\ncommitter A <a@example.org> {10 ** 9 + i * 60} "
                      f"+0000\ndata 10\ncommit{i:4}\n")
            for k in rng.sample(range(len(files)), 4 if i else len(files)):
                files[k][rng.randrange(150)] = f"changed {i} {rng.randrange(10 ** 6)}\n"
                text = "".join(files[k])
                out.write(f"M 100644 inline d{k % 8}/f{k}.txt\ndata {len(text)}\n{text}\n")
    write_tree(work, scale)


GIT_SCRIPT = """set -e
rm -rf repo
git init -q -b main repo
cd repo
git fast-import --quiet < ../history
git checkout -q main
cp -r ../tree new
git add -A
git commit -q -m 'add a tree'
git -c pack.threads=1 gc -q
git log --stat --format='%H %s'
git log -p -100 --format='%H %ct'
git rev-list --objects --all | wc -l
"""
GIT_ENV = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_PAGER": "cat",
           "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
           "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
           "GIT_AUTHOR_DATE": "1700000000 +0000", "GIT_COMMITTER_DATE": "1700000000 +0000"}

TAR_SCRIPT = """set -e
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - tree | xz -T2 -1 > tree.xz
xz -dc tree.xz | tar -xf - -O | sha256sum
"""

PS_DOCUMENT = """%!PS
/seed 17 def
/rnd { /seed seed 16807 mul 2147483647 mod cvi def seed exch mod } def
/line { 20 string seed exch cvs show } def
1 1 @17@ { /page exch def
  /Times-Roman findfont 9 scalefont setfont
  30 12 760 { 40 exch moveto 1 1 14 { pop 100000 rnd pop line ( ) show } for } for
  1 1 400 { pop gsave
    newpath 612 rnd 792 rnd moveto
    1 1 12 { pop 612 rnd 792 rnd 612 rnd 792 rnd 612 rnd 792 rnd curveto } for
    100 rnd 100 div 100 rnd 100 div 100 rnd 100 div setrgbcolor
    page 2 mod 0 eq { clip newpath 0 0 612 792 rectfill } { 3 rnd setlinewidth stroke } ifelse
    grestore } for
  /store 4000 dict def
  1 1 4000 { dup 64 string exch [ exch dup dup ] 2 array astore store exch page exch put } for
  showpage
} for
"""


# ---- solver ----

def write_smt_problem(work, _scale):
    """A multiplier to take apart, and linear arithmetic over many unknowns."""
    rng = random.Random(5)
    lines = ["(set-logic ALL)", "(push)", "(declare-const a (_ BitVec 40))",
             "(declare-const b (_ BitVec 40))", "(assert (= (bvmul a b) #x0000d3c21b))",
             "(assert (bvugt a #x0000000001))", "(assert (bvugt b #x0000000001))",
             "(assert (bvult a #x0000010000))", "(assert (bvult b #x0000010000))", "(check-sat)", "(pop)"]
    names = [f"x{i}" for i in range(140)]
    lines += [f"(declare-const {n} Int)" for n in names]
    lines += [f"(assert (and (>= {n} 0) (<= {n} 1000)))" for n in names]
    for _ in range(235):
        chosen = rng.sample(names, 4)
        terms = " ".join(f"(* {rng.randrange(-9, 10)} {n})" for n in chosen)
        lines.append(f"(assert (<= (+ {terms}) {rng.randrange(500, 4000)}))")
    for _ in range(185):
        a, b, c = rng.sample(names, 3)
        lines.append(f"(assert (or (< {a} {b}) (> {b} (+ {c} {rng.randrange(50)})) (= {c} {a})))")
    (work / "job.smt2").write_text("\n".join(lines + ["(check-sat)"]) + "\n")


# ---- Java ----

JAVA_PROGRAM = r"""
import java.nio.ByteBuffer;
import java.util.*;
import java.util.zip.*;
public class Job {
    public static void main(String[] args) throws Exception {
        long x = 12345, sum = 0;
        ByteBuffer[] live = new ByteBuffer[256];
        byte[] text = new byte[60000], packed = new byte[80000], back = new byte[60000];
        for (int i = 0; i < text.length; i++) {
            x = (x * 1103515245L + 12345) & 0xffffffffL;
            text[i] = (byte) ('a' + (x >> 16) % 17);
        }
        for (int i = 0; i < @250000@; i++) {
            x = (x * 1103515245L + 12345) & 0xffffffffL;
            int at = (int) (x >> 8) & 255;
            live[at] = ByteBuffer.allocateDirect(64 + (int) (x >> 12) % 6000);
            live[at].put(0, (byte) i);
            sum += live[(at + 1) & 255] == null ? 1 : live[(at + 1) & 255].get(0);
        }
        CRC32 crc = new CRC32();
        for (int i = 0; i < @2000@; i++) {
            Deflater d = new Deflater(1 + i % 5);
            d.setInput(text, i, 40000 + i);
            d.finish();
            int n = d.deflate(packed);
            d.end();
            Inflater f = new Inflater();
            f.setInput(packed, 0, n);
            int m = f.inflate(back);
            f.end();
            crc.update(back, 0, m);
        }
        System.out.println(sum + " " + crc.getValue());
    }
}
"""

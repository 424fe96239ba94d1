"""Lines as notebooks of six fields hold them, made with a seed: none of them holds a secret, though many look like one.

The shapes are those of real files and outputs: FASTQ and VCF, SMILES and InChI keys, order books and page tokens, logs
with request ids, tiles and geohashes, addresses and hashes of chains.
"""

# ruff: noqa: E501 - a line of data is one line
from __future__ import annotations

import base64
import hashlib
import random
import re
import uuid
from collections.abc import Callable, Iterator

LINES = 200
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def lines(field: str, seed: int = 1) -> list[str]:
    """Return 200 lines of the field, each shape about equally often."""
    dice = random.Random(f"{field} {seed}")
    shapes = FIELDS[field]
    return [shapes[number % len(shapes)](dice) for number in range(LINES)]


def of(dice: random.Random, letters: str, least: int, most: int = 0) -> str:
    return "".join(dice.choices(letters, k=dice.randint(least, most or least)))


def hexes(dice: random.Random, length: int) -> str:
    return of(dice, "0123456789abcdef", length)


def an_id(dice: random.Random) -> str:
    return str(uuid.UUID(int=dice.getrandbits(128), version=4))


def sha256(dice: random.Random) -> str:
    return hashlib.sha256(dice.randbytes(8)).hexdigest()


def base64_of(dice: random.Random, length: int) -> str:
    return base64.b64encode(dice.randbytes(length)).decode()


def number(dice: random.Random) -> str:
    return f"{dice.uniform(-1, 1) * 10 ** dice.randint(-6, 6):.{dice.randint(2, 8)}g}"


def filled(shape: str, dice: random.Random) -> str:
    """Return the text with what its `<hex64>`, `<i4>`, `<date>` stand for."""
    return re.sub(r"<(\w+)>", lambda found: BLANKS[found[1]](dice) if found[1] in BLANKS else found[0], shape)


Shape = Callable[[random.Random], str]
CAPITALS, DIGITS, SMALL = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", "abcdefghijklmnopqrstuvwxyz"
LETTERS = CAPITALS + SMALL + DIGITS
BLANKS: dict[str, Shape] = {
    **{f"hex{n}": lambda d, n=n: hexes(d, n) for n in (8, 16, 32, 40, 64, 128)},
    **{f"i{n}": lambda d, n=n: of(d, "123456789", 1) + of(d, DIGITS, n - 1) for n in (1, 2, 3, 4, 5, 6, 8, 10, 12, 18)},
    **{f"dna{n}": lambda d, n=n: of(d, "ACGT", n) for n in (30, 75, 150)},
    **{f"aa{n}": lambda d, n=n: of(d, "ACDEFGHIKLMNPQRSTVWY", n) for n in (30, 60)},
    **{f"U{n}": lambda d, n=n: of(d, CAPITALS, n) for n in (1, 2, 3, 4)},
    **{f"AN{n}": lambda d, n=n: of(d, CAPITALS + DIGITS, n) for n in (4, 6, 9, 12, 18, 20)},
    **{f"b58_{n}": lambda d, n=n: of(d, BASE58, n) for n in (34, 44)},
    **{f"mix{n}": lambda d, n=n: of(d, LETTERS + ("" if n == 22 else "-_"), n - 1) + "7" for n in (11, 22, 43)},
    **{f"b64_{n}": lambda d, n=n: base64_of(d, n * 3 // 4)[:n] for n in (24, 44, 86, 200)},
    "b58_34": lambda d: of(d, BASE58, 33),
    "bech": lambda d: of(d, BECH32, 38),
    "bech58": lambda d: of(d, BECH32, 58),
    "onion": lambda d: of(d, SMALL + "234567", 56),
    "gh": lambda d: of(d, "0123456789bcdefghjkmnpqrstuvwxyz", 9),
    "low6": lambda d: of(d, SMALL, 6),
    "q75": lambda d: of(d, "FFFFF:,#", 75),
    "uuid": an_id,
    "ip": lambda d: ".".join(str(d.randint(1, 254)) for _ in range(4)),
    "ep": lambda d: str(d.randint(1_500_000_000, 1_790_000_000)),
    "f2": lambda d: f"{d.uniform(0, 100):.2f}",
    "f4": lambda d: f"{d.uniform(0, 1):.4f}",
    "lat": lambda d: f"{d.uniform(-89, 89):.5f}",
    "lon": lambda d: f"{d.uniform(-179, 179):.5f}",
    "e": lambda d: f"{d.uniform(1, 10) * 10 ** -d.randint(3, 40):.3e}",
    "date": lambda d: f"20{d.randint(10, 26)}-{d.randint(1, 12):02d}-{d.randint(1, 28):02d}",
    "time": lambda d: f"{d.randint(0, 23):02d}:{d.randint(0, 59):02d}:{d.randint(0, 59):02d}",
}
GENOMICS: list[Shape] = [
    lambda d: "ATATT" + of(d, "ACGT", 60, 140),
    lambda d: "ATCTT" + of(d, "ACGT", 60, 140),
    lambda d: f"reads = ['ATATTC{of(d, 'ACGT', 40)}', 'ATCTTG{of(d, 'ACGTN', 60)}']",
    lambda d: f"@A00{d.randint(100, 999)}:{d.randint(1, 99)}:H{of(d, 'ABCDEFGHJK', 4)}DSXY:1:1101:{d.randint(1000, 9999)}:1000 1:N:0:ATATTACG+ATCTTGCA",
    lambda d: of(d, "".join(map(chr, range(33, 75))).replace('"', "").replace("'", ""), 80, 150).replace("://", ":F/"),
    lambda d: f"chr{d.randint(1, 22)}\t{d.randint(1, 10**8)}\trs{d.randint(10**6, 10**9)}\tA\tG\t{number(d)}\tPASS\tDP={d.randint(1, 99)};AF=0.5\tGT:AD\t0/1:12,14",
    lambda d: f"primer_key = '{of(d, 'ACGT', 40)}'",
    lambda d: f"ENSG{d.randint(0, 10**10):011d}\tENST{d.randint(0, 10**10):011d}\t{number(d)}",
    lambda d: f">sp|P{d.randint(10000, 99999)}|KEY_HUMAN Key protein\n{of(d, 'ACDEFGHIKLMNPQRSTVWY', 60, 120)}",
    lambda d: f"barcode: {of(d, 'ACGT', 16)}-1  umi: {of(d, 'ACGT', 12)}  pass_filter: True  pass_rate = '{d.uniform(90, 99):.1f}pct1'",
    lambda d: f"{{'sample_key': '{an_id(d)}', 'md5': '{hexes(d, 32)}', 'key': '{an_id(d)}'}}",
    lambda d: f"SRR{d.randint(10**6, 10**8)}.1 {d.randint(1, 99)} length=150 md5={hexes(d, 32)}",
    lambda d: f"kmer_token = '{of(d, 'ACGT', 31)}'; tokens = ['{of(d, 'ACGT', 6)}', '{of(d, 'ACGT', 6)}']",
    lambda d: f"low_pass = '{d.uniform(1, 99):.2f}Hz'; high_pass='0.{d.randint(10, 99)}Hz'; passes = '{d.randint(10, 99)}of{d.randint(100, 999)}'",
]  # fmt: skip
CHEMISTRY: list[Shape] = [
    lambda d: f"{of(d, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 14)}-{of(d, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 8)}SA-N",
    lambda d: f"InChI=1S/C{d.randint(6, 40)}H{d.randint(6, 60)}N{d.randint(1, 5)}O{d.randint(1, 9)}/c1-{d.randint(2, 9)}(2)10-6-7(3)9/h1-8H,(H2,11,12)/t{d.randint(2, 9)}-/m1/s1",
    lambda d: f"inchi_key = '{of(d, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 14)}-{of(d, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 10)}-N'",
    lambda d: f"smiles: CC(=O)N[C@@H](Cc1ccc(O)cc1)C(=O)O{of(d, 'CNOcno', 4, 9)}[Na+].[Cl-]",
    lambda d: f"CAS {d.randint(50, 10**6)}-{d.randint(10, 99)}-{d.randint(0, 9)}   pKa {number(d)}   logP {number(d)}",
    lambda d: f"HETATM {d.randint(1, 9999):4d}  C1  LIG A 301     {d.uniform(-99, 99):7.3f} {d.uniform(-99, 99):7.3f} {d.uniform(-99, 99):7.3f}  1.00 20.00",
    lambda d: f"key = '{sha256(d)}'  # digest of the conformer",
    lambda d: f"'catalog_key': '{of(d, 'ABCDEFGH', 3)}{d.randint(10**5, 10**7)}', 'tokens': {d.randint(1, 9999)}",
    lambda d: f"sequence token: [{', '.join(str(d.randint(0, 999)) for _ in range(12))}]",
    lambda d: f"m/z {d.uniform(50, 2000):.4f}  rt {d.uniform(0, 60):.3f} min  pass_band = '{d.randint(400, 700)}nm{d.randint(10, 90)}'",
    lambda d: f"spectrum_key={d.randint(10**9, 10**10)}; splash10-0{of(d, 'abcdefuz0123456789', 3)}-{d.randint(1000000000, 9999999999)}-{hexes(d, 20)}",
    lambda d: f"POSCAR Li{d.randint(2, 9)}Fe{d.randint(1, 9)}O{d.randint(2, 20)} mp-{d.randint(1000, 10**7)} bandgap {number(d)} eV",
]  # fmt: skip
FINANCE: list[Shape] = [
    lambda d: f"ISIN US{d.randint(10**8, 10**9 - 1)}{d.randint(0, 9)}  CUSIP {d.randint(10**7, 10**8)}{d.randint(0, 9)}  SEDOL B{of(d, 'BCDFGHJKLM0123456789', 6)}",
    lambda d: f"DE{d.randint(10, 99)}{d.randint(10**17, 10**18 - 1)}  BIC DEUTDEFF{d.randint(100, 999)}",
    lambda d: f"LEI {of(d, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789', 18)}{d.randint(10, 99)}",
    lambda d: f"'next_page_token': '{base64_of(d, 30)}', 'page_token': 'Cg{of(d, BASE58, 22)}'",
    lambda d: f'{{"nextPageToken": "{base64_of(d, 24)}", "continuationToken": "{base64_of(d, 48)}"}}',
    lambda d: f'pagination_token="{of(d, BASE58, 40)}" cursor="{base64_of(d, 30)}"',
    lambda d: f"order_key = '{an_id(d)}'; idempotency_key = '{an_id(d)}'",
    lambda d: f"{d.randint(2010, 2026)}-{d.randint(1, 12):02d}-{d.randint(1, 28):02d},EURUSD,{d.uniform(1, 1.3):.5f},{d.randint(1, 10**7)},{an_id(d)}",
    lambda d: f"sort_key={d.randint(10**12, 10**13)} partition_key='2026-11-{d.randint(1, 28):02d}#AAPL' primary_key='id{d.randint(10, 99)}'",
    lambda d: f"foreign_key: accounts.id  hash_key: {sha256(d)}  range_key: {d.randint(10**9, 10**10)}",
    lambda d: f"pass_through_rate: '{d.uniform(1, 9):.3f}pct' pass_fail='P{d.randint(1, 9)}F0' passed='{d.randint(100, 999)}of1000'",
    lambda d: f"FIX 8=FIX.4.4|9=178|35=D|49=CLIENT12|56=EXEC|11={d.randint(10**9, 10**10)}|10={d.randint(100, 255)}|",
]  # fmt: skip
LOGS: list[Shape] = [
    lambda d: f"2026-11-30T10:{d.randint(0, 59):02d}:12.{d.randint(100, 999)}Z INFO request_id={an_id(d)} status=200 bytes={d.randint(1, 10**6)}",
    lambda d: f"traceparent: 00-{hexes(d, 32)}-{hexes(d, 16)}-01",
    lambda d: f"commit {hexes(d, 40)}  tree {hexes(d, 40)}",
    lambda d: f"pulled sha256:{sha256(d)}  etag \"{hexes(d, 32)}-{d.randint(1, 9)}\"",
    lambda d: f"cache key={sha256(d)} hit  key: '{an_id(d)}' miss",
    lambda d: f"tokens: {d.randint(1, 9999)} prompt_tokens={d.randint(1, 9999)} tokens_per_second={number(d)} token_count: '{d.randint(1000, 9999)}'",
    lambda d: f"Accepted publickey for ann from 10.0.0.{d.randint(1, 254)} port {d.randint(1024, 65535)} ssh2: ED25519 SHA256:{base64_of(d, 32)[:43]}",
    lambda d: f"authenticated=true auth_type=oauth2 auth_time={d.randint(10**9, 2 * 10**9)} author=ann{d.randint(1, 99)}",
    lambda d: f"key '{d.randint(10**5, 10**6)}:{d.randint(1, 9)}:user' evicted; keys=[{d.randint(1, 9)}, {d.randint(1, 9)}]",
    lambda d: f"pass 1/3: loss=0.{d.randint(100, 999)}  pass 2/3: loss=0.{d.randint(100, 999)}  passed {d.randint(1, 999)} tests in {number(d)}s",
    lambda d: f"password changed for user{d.randint(10, 99)}; password must have 12 characters; token expired at 10:{d.randint(10, 59)}",
    lambda d: f"<{d.randint(1, 190)}>1 2026-11-30T10:00:00Z host{d.randint(1, 9)} app {d.randint(100, 9999)} ID{d.randint(10, 99)} [auth@32473 method=\"publickey\"] ok",
]  # fmt: skip
GEODATA: list[Shape] = [
    lambda d: f"s2_cell_token = '{hexes(d, 16)}'  s2_token: {hexes(d, 8)}  sst_token=-{d.randint(0, 2)}.{d.randint(100, 999)}",
    lambda d: f"geohash {of(d, '0123456789bcdefghjkmnpqrstuvwxyz', 12)}  h3 8{hexes(d, 10)}ffff",
    lambda d: f"POINT ({d.uniform(-180, 180):.6f} {d.uniform(-90, 90):.6f})  SRID=4326  EPSG:{d.randint(2000, 32767)}",
    lambda d: f"0101000020E6100000{hexes(d, 32).upper()}",
    lambda d: f"quadkey: '{of(d, '0123', 18)}'  tile_key='{d.randint(1, 18)}/{d.randint(1, 99999)}/{d.randint(1, 99999)}'",
    lambda d: f"polyline: {of(d, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_~}|{`@?', 60)}",
    lambda d: f"place_id ChIJ{of(d, BASE58 + '-_', 23)}  plus code 8FVC{of(d, '23456789CFGHJMPQRVWX', 4)}+{of(d, '23456789CFGHJMPQRVWX', 2)}",
    lambda d: f"S2A_MSIL2A_202611{d.randint(10, 28)}T103{d.randint(100, 999)}_N05{d.randint(10, 99)}_R108_T32TQM_20261130T135{d.randint(100, 999)}.SAFE",
    lambda d: f"osm_id={d.randint(10**6, 10**10)} key='highway' value='primary' tags={{'key': 'surface', 'ref': 'A{d.randint(1, 99)}'}}",
    lambda d: f"feature_key = '{an_id(d)}'; layer_key='{hexes(d, 16)}'",
    lambda d: f"pass_number: {d.randint(1, 999)} pass_direction='DESC{d.randint(10, 99)}' overpass='{d.randint(10, 23)}h{d.randint(10, 59)}m'",
    lambda d: f"mountain pass: 'Col {d.randint(1000, 2999)}m'  pass_height = '{d.randint(1000, 2999)}m0'",
]  # fmt: skip
CHAINS: list[Shape] = [
    lambda d: f"token = '0x{hexes(d, 40)}'",
    lambda d: f"token: 0x{of(d, '0123456789abcdefABCDEF', 40)}  decimals 18",
    lambda d: f'{{"token": "0x{hexes(d, 40)}", "tokenAddress": "0x{hexes(d, 40)}", "token_id": "{d.randint(1, 10**6)}"}}',
    lambda d: f"tx 0x{hexes(d, 64)} block {d.randint(10**6, 10**7)} gas {d.randint(21000, 10**6)}",
    lambda d: f"token_mint = '{of(d, BASE58, 44)}'",
    lambda d: f"token = '{of(d, BASE58, 44)}'  # a mint on Solana",
    lambda d: f"bc1q{of(d, BECH32, 38)}  1{of(d, BASE58, 33)}  3{of(d, BASE58, 33)}",
    lambda d: f"cosmos1{of(d, BECH32, 38)}  T{of(d, BASE58, 33)}  r{of(d, BASE58, 33)}",
    lambda d: f"token0=0x{hexes(d, 40)} token1=0x{hexes(d, 40)} fee={d.choice([500, 3000])}",
    lambda d: f"ipfs://Qm{of(d, BASE58, 44)}  bafybeig{of(d, 'abcdefghijklmnopqrstuvwxyz234567', 51)}",
    lambda d: f"public_key='04{hexes(d, 128)}'  pubkey: {hexes(d, 66)}",
    lambda d: f"token_uri: 'ipfs://Qm{of(d, BASE58, 44)}'  contract = '0x{hexes(d, 40)}'",
]  # fmt: skip
FIELDS: dict[str, list[Shape]] = {
    "genomics": GENOMICS,
    "chemistry": CHEMISTRY,
    "finance": FINANCE,
    "logs": LOGS,
    "geodata": GEODATA,
    "crypto addresses": CHAINS,
}


def everything() -> Iterator[str]:
    for field in FIELDS:
        yield from lines(field)

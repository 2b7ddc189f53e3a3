"""Spellings of private addresses that some program takes for one."""

from __future__ import annotations

__all__ = ["ADDRESSES", "MALFORMED"]


def words(text):
    return text.split()


ADDRESSES = words("""
127.0.0.1 127.0.0.1. 127.1 127.0.1 127.255.255.254 0 0.0 0.0.0.0 0.1.2.3 0x7f.0.0.1 0x7f.1 0X7F000001 0x7f000001
0x000000007f000001 0177.0.0.1 0177.1 017700000001 00177.0.0.1 2130706433 2130706433. 0x7f.0x0.0x0.0x1 127.0x1 0177.0x1
10.0.0.1 012.0.0.1 0xa.1 167772161 0xa000001 10.1 172.16.0.1 172.16.1 0xac.0x10.1 192.168.1.1 192.168.257 0xc0a80101
3232235777 0300.0250.1.1 169.254.169.254 0xa9fea9fe 2852039166 0251.0376.0251.0376 169.254.43518 100.64.0.1
100.100.100.200 168.63.129.16 192.0.0.192 198.18.0.1 203.0.113.7 224.0.0.1 240.0.0.1 255.255.255.255 4294967295
[::1] [::] [0:0:0:0:0:0:0:1] [0000::0001] [::127.0.0.1] [::7f00:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::FFFF:7F00:1]
[0:0:0:0:0:ffff:127.0.0.1] [::ffff:0:127.0.0.1] [::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [64:ff9b::127.0.0.1]
[64:ff9b::a9fe:a9fe] [64:ff9b:1::10.0.0.1] [2002:7f00:1::] [2002:a9fe:a9fe::1] [2001::1] [2001:0:a00:1::1]
[2a00:1450::5efe:10.0.0.1] [2a00:1450::200:5efe:a00:1] [fe80::1] [fe80::5efe:127.0.0.1] [fc00::1] [fd00:ec2::254]
[fec0::1] [ff02::1] [2001:db8::1] [100::1] [5f00::1] [3fff::1]
""")
"""Spellings of private addresses that are understood. A client is told that the target is private."""

FULL_WIDTH = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})
MALFORMED = [
    *words("""
127.0.0.1.. .127.0.0.1 127..1 127.0.0.256 127.0.0.0.1 0x7f.0.0.0.1 08.0.0.1 0x.1 127.0.0.0x 4294967296 0x100000000
127.0.0.1%00 127.0.0.1%2e 127%2e0%2e0%2e1 %31%32%37.0.0.1 %6c%6f%63alhost local%68ost 127.0.0.1#a 127.0.0.1?a
127.0.0.1/8 a@127.0.0.1 a:b@127.0.0.1 @127.0.0.1 example.com@127.0.0.1 example.com#@127.0.0.1 127.0.0.1\\@example.com
[127.0.0.1] [::1 ::1] ::1 [::1%25lo] [fe80::1%eth0] [fe80::1%251] [::1%] [v1.::1] [[::1]] [::ffff:0177.0.0.1]
[::ffff:127.1] [1::2::3] [::g] [] localhost.. .localhost local..host +127.0.0.1 1_27.0.0.1 0b1.1
127.0.0.1, 127.0.0.1;a 127;0.0.1 {127.0.0.1} http://127.0.0.1 //127.0.0.1 1.2.3.4.5.6.7.8 example.0x7f a.127 *
"""),
    f"{'127'.translate(FULL_WIDTH)}.0.0.1",
    "127。0。0。1",
    "127.0.0.1".translate(FULL_WIDTH),
    "①②⑦.⓪.⓪.①",
    "localhost".translate(FULL_WIDTH),
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    f"127.0.0.{'1'.translate(FULL_WIDTH)}",
    "[::1]".translate(FULL_WIDTH),
    "127.0.0.1\u200b",
    "١٢٧.0.0.1",
    "127.0.0.1\n",
    "127.0.0.1 ",
    " 127.0.0.1",
    "127.0.0.1\t",
    "127.0.0.1\0.example.com",
    "local\0host",
    "localhost\r\nHost: a",
    "",
    ".",
]
"""Spellings that no client needs: none of them is a target."""

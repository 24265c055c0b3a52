"""What things are called in the sample province: invented names, each in Chinese and in Latin script."""

from __future__ import annotations

from random import Random
from typing import NamedTuple


class Name(NamedTuple):
    """A name in Chinese and in English."""

    zh: str
    en: str


NATION = Name("示例国", "Sample Nation")
PROVINCE = Name("澜川省", "Lanchuan Province")
CITIES = (Name("云泽市", "Yunze City"), Name("青屏市", "Qingping City"), Name("石湾市", "Shiwan City"))
COUNTIES = (
    Name("松涧县", "Songjian County"),
    Name("竹屿县", "Zhuyu County"),
    Name("雁塘县", "Yantang County"),
    Name("枫桥县", "Fengqiao County"),
    Name("白驹县", "Baiju County"),
    Name("苇汀县", "Weiting County"),
    Name("月岭县", "Yueling County"),
    Name("星陂县", "Xingbei County"),
    Name("梅渚县", "Meizhu County"),
)

# GB/T 21010-2017, the twelve first-level classes.
LAND_USE = {
    "01": Name("耕地", "Cultivated land"),
    "02": Name("园地", "Garden land"),
    "03": Name("林地", "Forest land"),
    "04": Name("草地", "Grassland"),
    "05": Name("商服用地", "Commercial and service land"),
    "06": Name("工矿仓储用地", "Industrial, mining and storage land"),
    "07": Name("住宅用地", "Residential land"),
    "08": Name("公共管理与公共服务用地", "Public administration and public service land"),
    "09": Name("特殊用地", "Special-purpose land"),
    "10": Name("交通运输用地", "Transport land"),
    "11": Name("水域及水利设施用地", "Water and water-conservancy land"),
    "12": Name("其他土地", "Other land"),
}

_FIRST = (
    ("青", "Qing"), ("白", "Bai"), ("云", "Yun"), ("石", "Shi"), ("松", "Song"), ("竹", "Zhu"), ("柳", "Liu"),
    ("梨", "Li"), ("枫", "Feng"), ("鹤", "He"), ("雁", "Yan"), ("鹿", "Lu"), ("龙", "Long"), ("金", "Jin"),
    ("玉", "Yu"), ("清", "Qing"), ("长", "Chang"), ("双", "Shuang"), ("九", "Jiu"), ("望", "Wang"),
)  # fmt: skip
_SECOND = (
    ("溪", "xi"), ("坪", "ping"), ("岭", "ling"), ("塘", "tang"), ("湾", "wan"), ("桥", "qiao"), ("坝", "ba"),
    ("坡", "po"), ("泉", "quan"), ("沟", "gou"), ("洲", "zhou"), ("岩", "yan"), ("坞", "wu"), ("滩", "tan"),
    ("峪", "yu"), ("台", "tai"),
)  # fmt: skip

_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾萧田董潘袁蔡蒋余于杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金"
)
_GIVEN = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华建国志文玉兰春梅海燕红雪"
    "峰云飞宇晨欣怡佳琪浩然子涵思远博雅若曦天佑安宁乐康瑞祥"
)

# Two-character surnames: no owner has one, so that an informant's name is part of no other text.
_INFORMANT_SURNAMES = (
    ("欧阳", "Ouyang"), ("司马", "Sima"), ("上官", "Shangguan"), ("诸葛", "Zhuge"), ("东方", "Dongfang"),
    ("皇甫", "Huangfu"), ("尉迟", "Yuchi"), ("公孙", "Gongsun"), ("慕容", "Murong"), ("令狐", "Linghu"),
)  # fmt: skip
_INFORMANT_GIVEN = (
    ("望舒", "Wangshu"), ("砚秋", "Yanqiu"), ("听澜", "Tinglan"), ("知微", "Zhiwei"), ("怀瑾", "Huaijin"),
    ("既明", "Jiming"), ("景行", "Jingxing"), ("若谷", "Ruogu"), ("致远", "Zhiyuan"), ("沐阳", "Muyang"),
)  # fmt: skip


def place(random: Random) -> Name:
    """A place's name without its kind: 青溪, Qingxi."""
    (zh, en), (zh2, en2) = random.choice(_FIRST), random.choice(_SECOND)
    return Name(zh + zh2, en + en2)


def person(random: Random) -> str:
    """An owner's name: a surname of one character and a given name of one or two."""
    given = random.choice(_GIVEN) + (random.choice(_GIVEN) if random.random() < 0.75 else "")
    return random.choice(_SURNAMES) + given


def informant(number: int, random: Random) -> str:
    """An informant's name, in both scripts, with a number of its own."""
    (zh, en), (zh2, en2) = random.choice(_INFORMANT_SURNAMES), random.choice(_INFORMANT_GIVEN)
    return f"{zh}{zh2} {en2} {en} ({number:04d})"


def identity(number: int, birth: str, random: Random) -> str:
    """An identity number of 18 digits that nobody can have.

    It begins with 99, which is no division's code, and its check digit is wrong by GB 11643-1999 (ISO 7064 MOD 11-2).
    `number` below 10,000,000 makes it unique; `birth` is YYYYMMDD.
    """
    body = f"99{number // 1000:04d}{birth}{number % 1000:03d}"
    return body + random.choice([digit for digit in "0123456789" if int(digit) != _check(body)])


def _check(body: str) -> int:
    """The check character's value, 0 to 10 (10 is written X), of seventeen digits."""
    return (12 - sum(int(digit) * pow(2, 17 - i, 11) for i, digit in enumerate(body))) % 11

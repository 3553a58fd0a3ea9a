"""Names of macros that other programs know and that insert nothing here, by their plain names."""

from __future__ import annotations

_PICTURES = """
    asset audio bg bgm emotion image img inlay inlayed inlayeddata path raw source video videoimg
"""
_SENSELESS = """
    assetlist authorsnote axmodel banned bias charauthorsnote charcreatornotes charhistory
    charnegativeprefix charprefix charversion chatindex chatstart currentswipeid
    defaultauthorsnote defaultsystemprompt emotionlist exampleseparator firstdisplayedmessageid
    firstincludedmessageid firstmessageindex firstmsgindex hasextension history isfirstmessage
    isfirstmsg ismobile jbtoggled lastgenerationtype lastswipeid lorebook maxcontext
    maxcontexttokens maxprompt maxprompttokens maxresponsetokens messagedate messageidleduration
    messages messagetime messageunixtimearray model notchar pipe prefill prefillsupported role
    screenheight screenwidth summary userhistory var worldinfo
"""
_FUNCTIONS = """
    arrayassert arraypop arraypush arrayshift arraysplice button call d dict dictassert
    dictelement ele element file filter fromhex hash iserror makedict makeobject metadata
    moduleassetlist moduleenabled o object objectassert objectelement previouschatlog return risu
    spread tohex u ue unicodedecode unicodeencode xor
"""

PICTURES = frozenset(_PICTURES.split())
"""What only a screen shows: it says nothing, and that is no loss to tell of."""

SENSELESS = frozenset(_SENSELESS.split())
"""Macros that make no sense on a server, or of which nothing is known here."""

FUNCTIONS = frozenset(_FUNCTIONS.split())
"""Functions of RisuAI, which are told by their `::`, that are not evaluated."""

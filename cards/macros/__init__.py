"""The macros of cards and lore, filled in within bounds.

    {{char}} {{user}} <BOT> <CHAR> <USER>          names; Korean particles behind them agree
    {{original}}                                   the text that a card's own text replaces
    {{description}} {{charPrompt}} ...             other fields of the card
    {{persona}}                                    what the user says of themselves
    {{random:a,b}} {{pick::a::b}} {{roll:2d6+1}}   chance: each turn anew, or once a chat
    {{time}} {{date}} {{idle_duration}} ...        the request's clock (`clock`)
    {{setvar::n::v}} {{getvar::n}} {{incvar::n}}   variables of the chat (`variables`)
    {{lastMessage}} {{lastCharMessage}} {{input}}  lines of the chat, as one line of plain text
    {{outlet::name}}                               entries of lore with that outlet
    {{// note}} {{hidden_key:x}} {{asset::x}}      nothing (a lore scan sees the hidden key)
    {{reverse:x}} {{newline::2}} {{space}} {{trim}} {{noop}}
    {{#if x}}..{{:else}}..{{/if}} {{#when ..}} {{#each ..}} {{if x}}..{{else}}..{{/if}}
    {{equal::a::b}} {{? 1+2*3}} {{lower::x}}      functions of RisuAI (`cbs`)

Case and the white space around names and arguments do not matter. What a macro inserts is not read
again, except the card's own fields, so a name such as `{{char}}` does no harm; a field that leads
back to itself is left out. Cards and lore are expanded, of a user's standing note the names alone;
never messages or what was retrieved.

An unknown macro stays as text: a card may want it. Code never does. What is known and makes no
sense here, and what has the shape of code but cannot be evaluated, is removed and named. A
condition that cannot be decided counts as false, so that the `else` stands: a body behind a
condition tells of a special case, and one told wrongly does more harm than none. A tag without its
partner is removed alone, and its body stays, so that a slip costs no text.

What is read and inserted is counted, over the card of a turn and over its lore
(`schemas/budget.py`); macros behind the end of the budget stay as text. A text is expanded once in
a turn, if its scope is the same.
"""

from cards.macros.chance import chat_of, draw
from cards.macros.expand import MAX_INSERTED, Macros, expand, oddities
from cards.macros.scope import FIELDS, Scope, Told
from cards.macros.syntax import MAX_DEPTH
from cards.macros.variables import told_of

__all__ = [
    "FIELDS",
    "MAX_DEPTH",
    "MAX_INSERTED",
    "Macros",
    "Scope",
    "Told",
    "chat_of",
    "draw",
    "expand",
    "oddities",
    "told_of",
]

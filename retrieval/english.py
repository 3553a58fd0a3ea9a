"""What the stemmer does not know of English: empty words and irregular forms.

Function words carry no topic. Words of direction and order ("before", "down", "again") stay in:
leaving them out cost 1 point of recall@3 on FairytaleQA. "happen" and "feel" go: they ask for any
event and any feeling, so they match nothing in particular.
"""

from __future__ import annotations

_STOP_WORDS = """
a an the and or but if of at by for with to from in on then here there when where why how any
such nor so than too very can will just should i me my myself we our ours ourselves you your
yours yourself he him his himself she her hers herself it its itself they them their theirs
themselves what which who whom whose this that these those be am is are was were been being
have has had having do does did doing done would could may might must shall as until while
because happen happens happened happening feel feels felt feeling
i'm i've i'd i'll you're you've you'd you'll he's he'd he'll she's she'd she'll it's it'd it'll
we're we've we'd we'll they're they've they'd they'll that's there's what's who's where's how's
let's isn't aren't wasn't weren't haven't hasn't hadn't don't doesn't didn't won't wouldn't
can't cannot couldn't shouldn't mustn't ain't
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())

_FORMS = """
bear bore borne; beat beaten; become became; begin began begun; bend bent; bite bit bitten;
bleed bled; blow blew blown; break broke broken; breed bred; bring brought; build built;
burn burnt; buy bought; catch caught; choose chose chosen; cling clung; come came; creep crept;
deal dealt; dig dug; draw drew drawn; dream dreamt; drink drank drunk; drive drove driven;
eat ate eaten; fall fell fallen; feed fed; fight fought; find found; flee fled; fling flung;
fly flew flown; forbid forbade forbidden; forget forgot forgotten; forgive forgave forgiven;
freeze froze frozen; get got gotten; give gave given; go went gone; grow grew grown; hang hung;
hear heard; hide hid hidden; hold held; keep kept; kneel knelt; know knew known; lead led;
lean leant; leap leapt; learn learnt; leave left; lend lent; lie lain; light lit; lose lost;
make made; mean meant; meet met; pay paid; ride rode ridden; ring rang rung; rise rose risen;
run ran; say said; see saw seen; seek sought; sell sold; send sent; sew sewn; shake shook shaken;
shine shone; shoot shot; show shown; shrink shrank shrunk; sing sang sung; sink sank sunk; sit sat;
slay slew slain; sleep slept; slide slid; smell smelt; speak spoke spoken; speed sped; spend spent;
spin spun; spring sprang sprung; stand stood; steal stole stolen; stick stuck; sting stung;
strike struck stricken; swear swore sworn; sweep swept; swell swollen; swim swam swum;
swing swung; take took taken; teach taught; tear tore torn; tell told; think thought;
throw threw thrown; understand understood; wake woke woken; wear wore worn; weave wove woven;
weep wept; win won; write wrote written; child children; man men; woman women; wife wives;
foot feet; tooth teeth; mouse mice; goose geese; knife knives; life lives; leaf leaves;
wolf wolves; thief thieves; half halves; shelf shelves
"""

BASE_FORM: dict[str, str] = {
    form: base for base, *forms in (entry.split() for entry in _FORMS.split(";")) for form in forms
}
"""An irregular form to its base: "went" to "go". The stemmer handles regular ones."""

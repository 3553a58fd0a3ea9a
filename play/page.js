// The chat and the turn behind it. Texts enter the page as text nodes only, never as HTML.
"use strict";

const KO = {
  character: "캐릭터", yourName: "내 이름", open: "파일 열기 …", save: "대화 저장",
  fresh: "새 대화", chat: "대화", message: "메시지", send: "보내기", stop: "멈추기",
  hint: "Enter로 보내고, Shift+Enter로 줄을 바꾸고, Escape로 답변을 멈춥니다.",
  answer: "답하는 쪽", auto: "알아서", asCharacter: "캐릭터", asNarrator: "내레이터",
  turn: "이 턴", empty: "첫 답변 뒤에, 답변이 어떻게 나왔는지 여기에 보입니다.",
  demo: "예시", user: "나", Narrator: "내레이터", show: "이 턴 보기", steps: "단계",
  answered: "답한 쪽: {0}", confidence: "확신 {0}", evidence: "근거", value: "값", weight: "가중치",
  recalled: "떠올린 것", source: "출처", score: "점수", why: "이유", text: "내용", used: "사용",
  delivered: "전달", dropped: "제외", nothing: "떠올린 것이 없습니다.", chatSource: "대화",
  storySource: "이야기", loreSource: "로어", ledger: "프롬프트의 토큰",
  total: "{1} 중 {0} 토큰, 형식 {2}", cached: "앞의 {0} 토큰({1})은 엔진의 캐시에 이미 있었습니다.",
  uncached: "모델 서버가 캐시에서 찾은 토큰을 알려 주지 않았습니다.",
  system: "시스템", examples: "예시 대화", history: "대화", said: "메시지", memories: "기억", story: "이야기",
  frame: "제목", instruction: "지시", cut: "{0}개 메시지는 창 밖에 있습니다.",
  prompt: "프롬프트 그대로", raw: "모델의 답변 그대로", progress: "이야기의 흐름",
  loreOut: "빠진 로어", reached: "{0}에 이르렀습니다", loaded: "{0}: 불러왔습니다",
  loadedStory: "{0}: 이야기와 로어 {1}개를 더했습니다", stopped: "멈췄습니다",
  lost: "서버에 닿을 수 없습니다. 서버가 켜져 있는지 확인하세요.", ms: "{0} ms",
  saved: "저장했습니다", model: "모델", cuts: "다듬은 것", warning: "주의",
};
const KO_REASONS = [
  [/^dense$/, "뜻"], [/^lexical$/, "낱말"], [/^neighbour$/, "이웃한 말"], [/^speaker$/, "말한 이"],
  [/^reranked$/, "다시 매긴 순위"], [/^constant$/, "항상"], [/^reached$/, "도달한 사건"],
  [/^keyword (.+)$/s, "열쇠말 $1"], [/^beside (.+)$/s, "$1 곁"],
  [/^over the budget for notes by (\d+) tokens$/, "노트 예산을 $1토큰 넘음"],
  [/^(?:narrator|character): directive \((.+)\)$/s, "지시문($1)"],
  [/^(?:narrator|character): respond_as in the request$/, "요청이 정했습니다"],
  [/^character [\d.]+: too little calls for the narrator$/, "내레이터가 나설 근거가 부족합니다"],
  [/^(?:narrator|character): the model was asked and said '(.*?)'; .*$/s, "모델에게 물었습니다: $1"],
  [/^narrator: the story reaches (.+)$/s, "이야기가 $1에 이릅니다"],
  [/^(.+) not reached: ([\d.]+) of ([\d.]+) needed.*$/s, "$1은(는) 아직입니다(지금 $2, 필요 $3)"],
  [/^(.+) not reached: .*$/s, "$1은(는) 아직입니다"], [/^(.+) reached: .*$/s, "$1에 이르렀습니다"],
  [/^no event is left to wait for$/, "기다릴 사건이 없습니다"],
  [/^lore: constant$/, "로어: 항상"], [/^lore: sticky: .*$/, "로어: 이어짐"],
  [/^lore: key `(.+)` in the message$/s, "로어: 메시지에 열쇠말 $1"],
  [/^lore: key `(.+)` in the message (\d+) before$/s, "로어: $2개 앞 메시지에 열쇠말 $1"],
  [/^lore: key `(.+)` in the entry `(.+)`$/s, "로어: 항목 $2에 열쇠말 $1"],
  [/^lore: key `(.+)` in the card$/s, "로어: 카드에 열쇠말 $1"],
  [/^found, but over the budget: (\d+) tokens, (\d+) left$/, "예산 부족: $1토큰, 남은 것 $2"],
  [/^found, but chance \((.+) %\) was against it$/, "확률 $1%에 들지 못함"],
  [/^`(.+)` won the group `(.+)`$/s, "그룹 $2에서 $1이(가) 뽑힘"],
  [/^cooldown: .*$/, "쉬는 중"], [/^disabled$/, "꺼짐"], [/^its text is empty$/, "내용 없음"],
  [/^not for this character$/, "다른 캐릭터의 것"],
  [/^waits until the chat has (\d+) messages$/, "메시지 $1개부터"],
  [/^waits to be found in other entries$/, "다른 항목에서 불릴 때만"],
  [/^a key found, but `(\w+)` of its other keys does not hold$/, "보조 열쇠말($1)이 맞지 않음"],
];
/** The sentences of routing/weights.toml: `about`; of two, `about` and `about_below_0`. */
const KO_EVIDENCE = {
  scene_narrator_recent: "최근 줄에서 내레이터가 말했다",
  scene_narrator_share: "앞선 줄에 내레이터의 말이 있다",
  scene_narrator_to_you: "마지막 줄은 상대에게 말을 거는 서술이다",
  scene_narrator_long: "마지막 줄은 긴 서술이다",
  scene_person_last: "마지막 줄은 인물이 말하는 서술이다",
  scene_person_asks: "마지막 줄은 인물이 말하는 서술이고 묻는 말이 있다",
  scene_person_near: "가장 최근 서술에서 인물이 말한다",
  scene_character_asks: "캐릭터가 방금 물었다",
  scene_character_to_you: "캐릭터가 방금 상대에게 말을 걸었다",
  scene_game: "서술이 게임처럼 플레이어에게 말하거나 규칙을 말한다",
  scene_rules: "최근 줄에 주사위나 규칙 이야기가 있다",
  scene_actions: "최근 줄에서 누군가 행동한다",
  scene_voices: "최근 줄에서 캐릭터가 하나 이상 말했다",
  scene_user_share: "최근 줄에 사용자의 말이 있다",
  scene_user_then_narrator: "마지막 두 줄은 사용자와 내레이터의 것이다",
  scene_user_answered_by_narrator: [
    "내레이터가 인물보다 사용자에게 더 자주 답했다",
    "인물이 내레이터보다 사용자에게 더 자주 답했다",
  ],
  says_nothing: "아무 말도 없거나 계속하라는 말뿐이다",
  says_only_action: "말 없이 행동뿐이다",
  says_acts: "행동을 선언한다",
  says_act_and_speech: "행동을 선언하며 말도 한다",
  says_asks_scene: "주변, 시간, 규칙을 묻거나 들려 달라고 한다",
  says_asks_scene_not_you: "장면을 누구에게랄 것 없이 묻는다",
  says_asks_scene_last: "끝에 묻는 것이 장면이다",
  says_third_person: "다른 누군가나 무엇을 말한다",
  says_question: "무언가를 묻는다",
  says_rules: "주사위나 규칙을 말한다",
  says_score: "주사위 눈 같은 수를 댄다",
  says_you: "상대에게 말을 건다",
  says_name: "누군가를 이름으로, 또는 여럿을 한꺼번에 부른다",
  says_plans: "우리라고 하거나 무언가를 제안한다",
  says_talk: "감사, 의견, 핑계 같은 대화의 말이 있다",
  says_moves: "장소나 시간을 옮긴다",
  says_exclaims: "외친다",
  says_near_trigger: "다음 사건에 가까운 말이다",
  says_like_exemplars: [
    "대화보다 서술을 부르는 말을 더 닮았다",
    "서술을 부르는 말에 더 가깝다고 볼 근거가 없다",
  ],
  says_prose: "별표 없이 소설체로 쓴 행동이다",
  says_politely: "상대에게 하는 존댓말이다",
  says_to_nobody: "묻지도 누구에게 말을 걸지도 않는다",
  says_to_oneself: "혼잣말이거나 끝맺지 않은 말이다",
  says_cries: "외마디이거나 외마디로 시작한다",
  says_sets_out: "나서거나 시작하거나 끝내거나 시킨다",
  says_takes_leave: "승낙이나 작별의 말이고 묻는 것이 없다",
  both_nobody_narrates: "앞선 줄에 내레이터의 말이 없다",
  both_names_narrator: "내레이터의 이름을 말한다",
  both_question_to_person: "무언가를 묻고, 가장 최근 서술에서 인물이 말한다",
  both_you_to_person: "상대에게 말을 걸고, 가장 최근 서술에서 인물이 말한다",
};
const EN = {
  character: "Character", yourName: "Your name", open: "Open a file …", save: "Save the chat",
  fresh: "New chat", chat: "Chat", message: "Your message", send: "Send", stop: "Stop",
  hint: "Enter sends, Shift+Enter starts a new line, Escape stops a reply.",
  answer: "Answers", auto: "whoever fits", asCharacter: "the character",
  asNarrator: "the narrator", turn: "The turn",
  empty: "After the first reply, this shows how it came about.",
  demo: "Example", user: "You", Narrator: "Narrator", show: "Show its turn", steps: "Steps",
  answered: "Answered by {0}", confidence: "confidence {0}", evidence: "Evidence", value: "Value",
  weight: "Weight", recalled: "Recalled", source: "Source", score: "Score", why: "Why",
  text: "Text", used: "Used", delivered: "delivered", dropped: "dropped",
  nothing: "Nothing was recalled.", chatSource: "chat", storySource: "story", loreSource: "lore",
  ledger: "Tokens of the prompt", total: "{0} of {1} tokens, format {2}",
  cached: "The first {0} tokens ({1}) were in the engine’s cache already.",
  uncached: "The model’s server told of no tokens found in its cache.",
  system: "system", examples: "examples",
  history: "history", said: "message", memories: "memories", story: "story", frame: "headings",
  instruction: "instruction", cut: "{0} messages are outside of the window.",
  prompt: "The exact prompt", raw: "The raw reply", progress: "Story", loreOut: "Lore left out",
  reached: "reached {0}", loaded: "{0}: loaded", loadedStory: "{0}: {1} events and lore added",
  stopped: "Stopped", lost: "The server cannot be reached; check that it runs.", ms: "{0} ms",
  saved: "Saved", model: "Model", cuts: "Tidied", warning: "Note",
};
const language = (navigator.languages || [navigator.language]).find((l) => /^(ko|en)/i.test(l));
const lang = /^ko/i.test(language || "") ? "ko" : "en";
const WORDS = lang === "ko" ? KO : EN;
const t = (key, ...values) =>
  (WORDS[key] || key).replace(/\{(\d)\}/g, (_, place) => String(values[place]));
const number = (value, digits = 0) =>
  Number(value).toLocaleString(lang, { minimumFractionDigits: digits, maximumFractionDigits: digits });

const $ = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text. */
function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (key === "onclick") made.addEventListener("click", value);
    else if (value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

function translate() {
  document.documentElement.lang = lang;
  for (const part of document.querySelectorAll("[data-t]")) part.textContent = t(part.dataset.t);
  for (const part of document.querySelectorAll("[data-t-label]"))
    part.setAttribute("aria-label", t(part.dataset.tLabel));
}

// ---- the chat ----

const chat = { request: {}, history: [], story: undefined, position: undefined };
let running = null;

function notice(text, bad = false) {
  $("notice").textContent = text;
  $("notice").className = bad ? "bad" : "";
  $("notice").hidden = !text;
}

const nameOf = (line) =>
  line.name ||
  { user: chat.request.user_name || t("user"), narrator: t("Narrator"), system: "·" }[line.role] ||
  chat.request.persona?.name || "";

/** A line of the chat; `turn` is the response behind it. */
function addLine(line, pieces, turn) {
  const text = el("p", { class: "text" });
  const head = el("span", {}, nameOf(line));
  const item = el("li", { class: line.role }, el("div", { class: "speaker" }, head), text);
  if (pieces) text.append(...pieces.map(piece));
  else text.textContent = line.content;
  $("log").append(item);
  if (turn) linkTurn(item, turn);
  return item;
}

const piece = (part) => el("span", { class: part.type }, part.text);

function linkTurn(item, response) {
  const show = () => showTurn(response, item);
  item.querySelector(".speaker").append(el("button", { type: "button", onclick: show }, t("show")));
  show();
}

function scrollDown() {
  $("log").scrollTop = $("log").scrollHeight;
}

const newSession = () => crypto.randomUUID ? crypto.randomUUID() : String(Math.random());

/** Starts over with a request: its persona, story and history. */
function begin(request, face, session = newSession()) {
  if (running) running.abort();
  chat.request = request;
  chat.history = [...(request.history || [])];
  chat.story = undefined;
  chat.position = request.story_position;
  chat.session = session;
  $("who").textContent = request.persona.name;
  $("who").removeAttribute("data-t");
  const old = $("face").src;
  if (old.startsWith("blob:") && old !== face) URL.revokeObjectURL(old);
  $("face").hidden = !face;
  if (face) $("face").src = face;
  else $("face").removeAttribute("src");
  redraw();
}

function redraw() {
  $("log").replaceChildren();
  $("turn").replaceChildren();
  $("empty").hidden = false;
  for (const line of chat.history) addLine(line);
  scrollDown();
}

function requestFor(message) {
  const { message: _, history: __, meta, ...rest } = chat.request;
  const asked = { ...rest, message, history: chat.history, session_id: chat.session };
  asked.respond_as = $("respond-as").value;
  asked.meta = { ...meta, debug: true };
  if (chat.story) asked.meta.story = chat.story;
  if (chat.position !== undefined && chat.position !== null) asked.story_position = chat.position;
  return asked;
}

/** Lines of JSON as they arrive. */
async function* linesOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line) yield JSON.parse(line);
  }
}

async function send(message) {
  const body = JSON.stringify(requestFor(message));
  const said = { role: "user", content: message };
  if (chat.request.user_name) said.name = chat.request.user_name;
  const asked = addLine(said);
  const item = addLine({ role: "character", content: "" });
  item.classList.add("busy");
  scrollDown();
  running = new AbortController();
  busy(true);
  try {
    const answer = await fetch("api/turn", { method: "POST", body, signal: running.signal });
    if (!answer.ok) throw new Error((await answer.json()).error.message);
    for await (const event of linesOf(answer)) onEvent(event, item, said);
    if (item.classList.contains("busy")) throw new Error(t("lost"));
    notice("");
  } catch (error) {
    const words = error.name === "AbortError" ? t("stopped")
      : error instanceof TypeError ? t("lost") : error.message;
    notice(words, error.name !== "AbortError");
    if (!chat.history.includes(said)) {
      item.remove();
      asked.remove();
      if (!$("message").value) $("message").value = message;
    }
  } finally {
    running = null;
    busy(false);
  }
}

function onEvent(event, item, said) {
  const atEnd = $("log").scrollHeight - $("log").scrollTop - $("log").clientHeight < 80;
  if (event.type === "token") item.querySelector(".text").append(event.text);
  else if (event.type === "segment" && event.content.type === "narration" &&
           event.content.speaker !== chat.request.persona.name) setSpeaker(item, "narrator");
  else if (event.type === "error") throw new Error(event.error.message);
  else if (event.type === "final") finish(event.response, item, said);
  if (atEnd) scrollDown();
}

function setSpeaker(item, role) {
  item.classList.remove("character", "narrator");
  item.classList.add(role);
  item.querySelector(".speaker span").textContent = nameOf({ role });
}

function finish(response, item, said) {
  const pieces = response.response_contents;
  const content = pieces.map((part) => part.text).join("");
  if (!content) throw new Error(response.error || t("lost"));
  const role = response.responded_as;
  item.classList.remove("busy");
  setSpeaker(item, role);
  item.querySelector(".text").replaceChildren(...pieces.map(piece));
  chat.history.push(said, { role, content });
  chat.story = response.meta.story;
  if (chat.story) chat.position = chat.story.position_after;
  linkTurn(item, response);
}

function busy(on) {
  $("log").setAttribute("aria-busy", String(on));
  $("send").textContent = t(on ? "stop" : "send");
}

// ---- the turn ----

function showTurn(response, item) {
  for (const other of document.querySelectorAll("#log .shown")) other.classList.remove("shown");
  if (item) item.classList.add("shown");
  $("empty").hidden = true;
  const meta = response.meta || {};
  $("turn").replaceChildren(
    ...[routeOf(response), graphOf(response.timing), meta.prompt ? ledgerOf(meta.prompt, response.usage) : null,
      recalledOf(response), loreOf(meta.lore),
      folded(t("prompt"), meta.prompt?.text), folded(t("raw"), meta.reply?.raw)].filter(Boolean));
}

const block = (title, ...inside) => el("section", {}, el("h3", {}, title), ...inside);

function table(kind, heads, rows) {
  const cells = (name, row) => row.map((cell, column) =>
    el(name, { class: heads[column][1], scope: name === "th" ? "col" : undefined }, cell));
  const head = el("tr", {}, ...cells("th", heads.map(([title]) => title)));
  const body = rows.map(({ row, kind: of }) => el("tr", { class: of || "" }, ...cells("td", row)));
  return el("div", { class: "scroll", tabindex: "0", role: "group" },
    el("table", { class: kind }, el("thead", {}, head), el("tbody", {}, ...body)));
}

/** What a piece of evidence says of the turn; `about` is the server's English sentence. */
function evidenceAbout({ name, value, about }) {
  const [above, below] = [lang === "ko" ? KO_EVIDENCE[name] : about].flat();
  return (value < 0 && below) || above || name.replaceAll("_", " ");
}

/** Why this speaker answers; in Korean from the evidence, as the server's words are English. */
function routeReason(speaker, { reason: words, evidence }) {
  const sign = speaker === "narrator" ? 1 : -1;
  const because = evidence.map((found) => [found, found.value * found.weight])
    .filter(([, counts]) => counts * sign > 0).sort(([, a], [, b]) => (b - a) * sign).slice(0, 3);
  const decided = /^(narrator|character) [\d.]+: /.test(words); // by evidence alone
  if (lang !== "ko" || !decided || !because.length) return reason(words);
  return because.map(([found, counts]) => `${evidenceAbout(found)} (${number(counts, 1)})`)
    .join("; ");
}

function routeOf(response) {
  const { route, story, reply, warnings } = response.meta;
  const who = response.responded_as === "narrator" ? t("asNarrator") : t("asCharacter");
  const parts = [];
  if (route) {
    parts.push(el("p", {}, routeReason(response.responded_as, route), " ",
      el("span", { class: "soft" }, `(${t("confidence", number(route.confidence, 2))})`)));
    if (route.evidence.length) {
      const rows = route.evidence.map((found) =>
        ({ row: [evidenceAbout(found), number(found.value, 2), number(found.weight, 2)] }));
      const heads = [[t("evidence")], [t("value"), "number"], [t("weight"), "number"]];
      parts.push(el("details", {}, el("summary", {}, t("evidence")), table("evidence", heads, rows)));
    }
  }
  if (story) {
    const where = `${number(story.position_before)} → ${number(story.position_after)}`;
    const event = story.event ? `, ${t("reached", story.event)}` : "";
    parts.push(el("p", {}, `${t("progress")}: ${where}${event}. `,
      el("span", { class: "soft" }, reason(story.why))));
  }
  if (reply?.cuts?.length) parts.push(el("p", {}, `${t("cuts")}: ${reply.cuts.join(", ")}`));
  for (const words of warnings || []) parts.push(el("p", {}, `${t("warning")}: ${words}`));
  if (response.error) parts.push(el("p", { class: "error" }, response.error));
  return block(t("answered", who), ...parts);
}

function graphOf(timing) {
  if (!timing) return null;
  const node = (name) => el("span", { class: "node" }, el("b", {}, name),
    name in timing.nodes ? t("ms", number(timing.nodes[name], 1)) : "–");
  const steps = [["embed", "plan_prompt"], ["retrieve_chat", "retrieve_story"], "route", "build_prompt",
    "generate", "parse_reply"];
  const items = steps.map((step) => el("li", {}, Array.isArray(step)
    ? el("span", { class: "both" }, ...step.map(node)) : node(step)));
  return block(`${t("steps")}: ${t("ms", number(timing.total))}`,
    el("ol", { class: "graph" }, ...items));
}

/** A long text by its beginning; the rest unfolds behind it. */
function shortened(text) {
  if (text.length <= 280) return text;
  const cut = text.lastIndexOf(" ", 180) > 100 ? text.lastIndexOf(" ", 180) : 180;
  return el("details", { class: "long" },
    el("summary", {}, text.slice(0, cut)), text.slice(cut));
}

/** Why something was recalled or left out, in the page's language. */
function reason(words) {
  for (const [pattern, said] of lang === "ko" ? KO_REASONS : [])
    if (pattern.test(words)) return words.replace(pattern, said);
  return words;
}

function recalledOf(response) {
  if (!response.retrieved.length) return block(t("recalled"), el("p", {}, t("nothing")));
  const rows = response.retrieved.map((item) => {
    const source = item.id.startsWith("lore/") ? "lore" : item.source;
    return {
      kind: item.used ? "delivered" : "dropped",
      row: [t(item.used ? "delivered" : "dropped"), t(`${source}Source`), item.id,
        item.score === null ? "–" : number(item.score, 3),
        item.why.map(reason).join(", "), shortened(item.text)],
    };
  });
  const heads = [[t("used"), "tight"], [t("source"), "tight"], ["id", "id"],
    [t("score"), "number"], [t("why"), "why"], [t("text")]];
  return block(t("recalled"), table("recalled", heads, rows));
}

function loreOf(lore) {
  const out = Object.entries(lore?.left_out || {});
  if (!out.length) return null;
  return block(t("loreOut"), table("lore", [["id"], [t("why")]], 
    out.map(([id, why]) => ({ row: [id, reason(why)] }))));
}

const label = (section) => t(section === "message" ? "said" : section);

function ledgerOf(ledger, usage) {
  const { tokens, cut } = ledger;
  const notes = ["memories", "story", "frame"];
  const order = ledger.place === "before_history"
    ? ["system", "examples", ...notes, "history", "message", "instruction"]
    : ["system", "examples", "history", "message", ...notes, "instruction"];
  const share = (count) => `${(100 * count) / Math.max(tokens.budget, tokens.total, 1)}%`;
  const bar = el("div", { class: "bar", "aria-hidden": "true" }); // the legend says the same
  for (const name of order) {
    const part = el("i", { class: name, title: `${label(name)}: ${number(tokens[name])}` });
    part.style.width = share(tokens[name]);
    bar.append(part);
  }
  const parts = [el("p", {},
    t("total", number(tokens.total), number(tokens.budget), ledger.format)), bar];
  const cached = usage?.cached_tokens; // as the model's server tells it, in its own tokens
  if (cached) {
    const mark = el("div", { class: "cached" }), part = cached / usage.prompt_tokens;
    mark.style.width = share(part * tokens.total);
    parts.push(mark, el("p", { class: "soft" },
      t("cached", number(cached), `${number(100 * part)} %`)));
  } else parts.push(el("p", { class: "soft" }, t("uncached")));
  parts.push(el("ul", { class: "legend" }, ...order.map((name) =>
    el("li", {}, el("span", { class: `key ${name}` }), `${label(name)} ${number(tokens[name])}`))));
  if (cut.dropped_messages) parts.push(el("p", {}, t("cut", number(cut.dropped_messages))));
  return block(t("ledger"), ...parts);
}

function folded(title, text) {
  if (!text) return null;
  return el("details", {}, el("summary", {}, title), el("pre", { tabindex: "0" }, text));
}

// ---- files ----

async function fetched(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error(t("lost"));
  }
  if (!answer.ok) throw new Error((await answer.json()).error.message);
  return answer;
}

const query = (values) => new URLSearchParams(
  Object.entries(values).filter(([, value]) => value)).toString();

/** Shows an error of a piece of work instead of losing it. */
const guarded = (work) => async (...values) => {
  try {
    await work(...values);
  } catch (error) {
    notice(error.message, true);
  }
};

const userName = () => $("user").value.trim() || undefined;

/** Begins a chat with a character; it says the greeting of this number.
 *  `source` reads it for a session: chance in a greeting is drawn from that. */
async function meet(source, { face = null, number = 0, session = newSession(), read } = {}) {
  const { kind: _, notes: __, persona, story, greetings, ...others } = read || await source(session);
  const greeting = greetings[number % Math.max(1, greetings.length)];
  const history = greeting ? [{ role: "character", content: greeting }] : [];
  begin({ ...others, persona, story, history, user_name: userName() }, face, session);
  Object.assign(chat, { source, number });
}

const load = guarded(async (file) => {
  const source = async (chat) => {
    const values = query({ name: file.name, user: userName(), chat });
    return (await fetched(`api/read?${values}`, { method: "POST", body: file })).json();
  };
  const session = newSession();
  const read = await source(session);
  if (read.kind === "character") {
    const face = /\.png$/i.test(file.name) ? URL.createObjectURL(file) : null;
    await meet(source, { face, session, read });
    $("characters").selectedIndex = -1; // it is none of those on offer
  } else if (read.kind === "story") {
    const known = new Set(read.story.map((event) => event.id));
    const kept = (chat.request.story || []).filter((event) => !known.has(event.id));
    chat.request.story = [...kept, ...read.story];
    notice([t("loadedStory", file.name, number(read.story.length)), ...read.notes].join("; "));
    return;
  } else {
    chat.history = read.history;
    chat.story = undefined;
    redraw();
  }
  notice([t("loaded", file.name), ...read.notes].join("; "));
});

const save = guarded(async () => {
  const body = JSON.stringify({
    history: chat.history, user: chat.request.user_name, character: chat.request.persona.name,
  });
  const text = await (await fetched("api/save", { method: "POST", body })).blob();
  const link = el("a", { href: URL.createObjectURL(text), download: "chat.jsonl" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  notice(t("saved"));
});

const choose = guarded(async () => {
  const name = $("characters").value;
  if (!name) return startDemo();
  const path = `api/characters/${encodeURIComponent(name)}`;
  await meet(async (chat) => (await fetched(`${path}?${query({ user: userName(), chat })}`)).json());
  notice("");
});

function startDemo() {
  $("user").value = chat.demo.user_name || "";
  begin(chat.demo);
  const { first_message: first } = chat.demo.persona;
  chat.source = async () => ({ ...chat.demo, greetings: first ? [first] : [] });
  chat.number = -1;
  $("message").value = chat.demo.message;
}

/** Begins anew with the next greeting; lore and story that were added stay. */
const fresh = guarded(async () => {
  const { story } = chat.request;
  const face = $("face").hidden ? null : $("face").src;
  await meet(chat.source, { face, number: chat.number + 1 });
  chat.request.story = story;
});

// ---- the page ----

function listen() {
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (running) return running.abort();
    const message = $("message").value;
    if (!message.trim()) return;
    $("message").value = "";
    send(message);
  });
  $("message").addEventListener("keydown", (event) => {
    const composing = event.isComposing || event.keyCode === 229; // a Hangul syllable in the making
    if (event.key !== "Enter" || event.shiftKey || composing) return;
    event.preventDefault();
    if (!running) $("form").requestSubmit();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && running) running.abort();
  });
  $("user").addEventListener("change", () => {
    chat.request.user_name = userName();
  });
  $("open").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    if ($("file").files[0]) load($("file").files[0]);
    $("file").value = "";
  });
  $("save").addEventListener("click", save);
  $("fresh").addEventListener("click", fresh);
  $("characters").addEventListener("change", choose);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  document.addEventListener("dragleave", () => document.body.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    if (event.dataTransfer.files[0]) load(event.dataTransfer.files[0]);
  });
}

/** A turn that is part of the page, without a server. */
function showSingle({ persona, user_name, history, message, response }) {
  document.body.classList.add("single");
  chat.request = { persona, user_name };
  $("who").textContent = persona.name;
  for (const line of history) addLine(line);
  addLine({ role: "user", content: message });
  const content = response.response_contents.map((part) => part.text).join("");
  addLine({ role: response.responded_as, content }, response.response_contents, response);
  scrollDown();
}

const start = guarded(async () => {
  const { request, characters } = await (await fetched(`api/start?lang=${lang}`)).json();
  chat.demo = request;
  $("characters").append(el("option", { value: "" }, t("demo")),
    ...characters.map((name) => el("option", { value: name }, name)));
  startDemo();
});

translate();
const data = $("turn-data");
if (data) showSingle(JSON.parse(data.textContent));
else {
  listen();
  start();
}

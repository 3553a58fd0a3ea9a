// The chat and the turn behind it. Texts enter the page as text nodes only, never as HTML.
"use strict";

const KO = {
  character: "캐릭터", yourName: "내 이름", open: "파일 열기", save: "대화 저장", fresh: "새 대화",
  note: "유저 노트", noteHelp: "모든 답변에서 지켰으면 하는 점을 적어 주세요. 예: 묘사를 길게",
  chat: "대화", message: "메시지", send: "보내기", stop: "멈추기",
  hint: "Enter: 보내기 · Shift+Enter: 줄바꿈 · Esc: 답변 멈추기",
  answer: "답변할 사람", auto: "자동", asCharacter: "캐릭터", asNarrator: "내레이터",
  turn: "이 답변의 과정", show: "이 답변의 과정",
  empty: "첫 답변을 받으면 그 답변이 어떻게 나왔는지 여기에 보여 줍니다.",
  demo: "예시", user: "나", Narrator: "내레이터", steps: "처리 단계",
  answered: "답변한 사람: {0}", confidence: "확신도 {0}%", evidence: "근거", and: " · ",
  side: "{0} 쪽으로 {1}", weight: "가중치", byStory: "스토리 사건이 일어났습니다",
  recalled: "불러온 기억", source: "출처", score: "점수", why: "이유", text: "내용",
  used: "사용 여부", delivered: "사용", dropped: "제외", nothing: "불러온 기억이 없습니다.",
  chatSource: "대화", storySource: "스토리", loreSource: "로어북", ledger: "프롬프트 토큰",
  total: "{1}토큰 중 {0}토큰 사용 · 형식 {2}",
  cached: "앞부분 {0}토큰({1}%)은 모델 서버의 캐시에 이미 있었습니다.",
  uncached: "모델 서버가 캐시 사용량을 알려 주지 않았습니다.",
  system: "시스템", examples: "예시 대화", history: "대화 기록", said: "메시지", memories: "기억",
  story: "스토리", frame: "머리글", instruction: "지시문",
  cut: "메시지 {0}개는 컨텍스트에 들어가지 않았습니다.",
  prompt: "프롬프트 전문", raw: "모델이 쓴 원문", progress: "스토리 진행",
  loreOut: "빠진 로어북 항목", reached: "일어난 사건: {0}", next: "다음 사건: {0}",
  loaded: "{0}: 불러왔습니다", loadedStory: "{0}: 스토리 사건과 로어북 항목 {1}개를 추가했습니다",
  reading: "모델이 프롬프트를 읽는 중입니다({0}%)", stopped: "답변을 멈췄습니다", ms: "{0} ms", saved: "대화를 저장했습니다",
  lost: "서버에 연결할 수 없습니다. 서버가 켜져 있는지 확인해 주세요.",
  cuts: "잘라 낸 부분", warning: "주의", unread: "일부를 쓰지 못했습니다", failed: "문제가 생겼습니다",
};
const KO_FORMS = {
  slash: "슬래시 명령", tag: "괄호 명령", prefix: "‘내레이션:’ 표시", ooc: "장면 밖에서 한 말", as: "역할 지정",
  command: "명령",
};
const KO_REASONS = [
  [/^dense$/, "의미 유사"], [/^lexical$/, "단어 일치"], [/^neighbour$/, "앞뒤 대화"],
  [/^speaker$/, "화자"], [/^reranked$/, "순위 재조정"], [/^constant$/, "항상 사용"],
  [/^reached$/, "일어난 사건"], [/^keyword (.+)$/s, "키워드 $1"], [/^beside (.+)$/s, "$1의 앞뒤 대화"],
  [/^over the budget for notes by (\d+) tokens$/, "기억에 쓸 분량을 $1토큰 넘음"],
  [/^the whole prompt is over its budget$/, "프롬프트 분량을 넘음"],
  [/^stands in the verbatim history$/, "대화 기록에 그대로 있음"],
  [/^is there already$/, "이미 들어 있음"], [/^not offered$/, "이번 답변에는 쓰지 않음"],
  [/^(?:narrator|character): directive \((.+)\)$/s, (_, form) => `${KO_FORMS[form] || form}에 따름`],
  [/^(?:narrator|character): respond_as in the request$/, "요청에서 지정"],
  [/^character [\d.]+: too little calls for the narrator$/, "내레이터가 나설 근거가 부족합니다"],
  [/^(?:narrator|character): the model was asked and said '(.*?)'; .*$/s,
    "모델에게 물어 정했습니다(모델의 답: $1)"],
  [/^lore: constant$/, "로어북: 항상 사용"], [/^lore: sticky: .*$/, "로어북: 유지 중"],
  [/^lore: key `(.+)` in the message$/s, "로어북: 메시지에 키워드 $1"],
  [/^lore: key `(.+)` in the message (\d+) before$/s, "로어북: $2개 앞의 메시지에 키워드 $1"],
  [/^lore: key `(.+)` in the entry `(.+)`$/s, "로어북: 항목 $2에 키워드 $1"],
  [/^lore: key `(.+)` in the card$/s, "로어북: 카드에 키워드 $1"],
  [/^found, but over the budget: (\d+) tokens, (\d+) left$/, "분량 부족(필요 $1토큰, 남은 분량 $2토큰)"],
  [/^found, but chance \((.+) %\) was against it$/, "발동 확률 $1%에 걸리지 않음"],
  [/^`(.+)` won the group `(.+)`$/s, "그룹 $2에서 $1 항목이 뽑힘"],
  [/^says the same as `(.+)`$/s, "$1 항목과 같은 내용"],
  [/^cooldown: .*$/, "재사용 대기 중"], [/^disabled$/, "꺼져 있음"], [/^its text is empty$/, "내용 없음"],
  [/^has no keys$/, "키워드 없음"], [/^not for this character$/, "다른 캐릭터용"],
  [/^not for a turn of the kind `(.+)`$/s, "이런 답변($1)에는 쓰지 않음"],
  [/^only for greeting (\d+)$/, "$1번 첫인사에서만 사용"],
  [/^only every (\d+) messages$/, "메시지 $1개마다 사용"],
  [/^waits until the chat has (\d+) messages$/, "메시지 $1개부터 사용"],
  [/^waits to be found in other entries$/, "다른 항목에서 불릴 때만 사용"],
  [/^a key found, but `(\w+)` of its other keys does not hold$/, "보조 키워드 조건($1)이 맞지 않음"],
];
/** Parts of what is told of the story's progress. */
const KO_PROGRESS = [
  [/^it was told before$/, "이미 나온 사건"],
  [/^what comes after it is told \(([\d.]+)\); /, "그다음 사건이 이미 나옴($1) · "],
  [/an event was reached just before/, "조금 전에 다른 사건이 일어남"],
  [/([\d.]+) of ([\d.]+) needed/, "점수 $1, 필요한 점수 $2"], [/nothing of it/, "관련 내용 없음"],
  [/trigger's words/, "조건의 단어"], [/words(?= [+-])/, "단어"], [/meaning(?= [+-])/, "의미"],
  [/told as a deed/, "일어난 일로 서술"], [/talk(?= [+-])/, "대화"],
  [/has happened/, "지난 사건과 비슷함"], [/before(?= [+-])/, "지난 메시지"],
];
const KO_WARNINGS = [
  // Of any file.
  [/^unknown macro `(.+)` stays as text$/, "모르는 매크로 $1은(는) 글자 그대로 남습니다"],
  [/^macro `(.+)` is left out: it is not supported$/, "쓸 수 없는 매크로 $1을(를) 뺐습니다"],
  [/^macro `(.+)` is left out: nothing says what time it is; .*$/, "지금 시각을 알 수 없어 매크로 $1을(를) 뺐습니다"],
  [/^it has more macros than are looked at here; .*$/, "매크로가 너무 많아 일부는 살펴보지 않았습니다"],
  [/^([\d,]+) warnings more; .*$/, "그 밖의 경고 $1개"],
  [/^no story: /, "스토리를 불러오지 못했습니다: "],
  [/the story is searched by words only: /, "스토리를 단어로만 검색했습니다: "],
  [/^no standing memory: /, "서버에 저장된 기억을 불러오지 못했습니다: "],
  [/^not reranked: /, "기억의 순위를 다시 매기지 못했습니다: "],
  [/key `([^`]+)` takes too long/g, "키워드 $1 검색이 너무 오래 걸립니다"],
  [/key `([^`]+)` is no valid pattern(?: and never matches)?/, "키워드 $1 형식이 잘못되었습니다"],
  [/key `([^`]+)` is longer than ([\d,]+) characters/, "키워드 $1: $2자를 넘어 쓸 수 없습니다"],
  [/key `([^`]+)` uses what is not supported: (.+)$/, "키워드 $1: 지원하지 않는 문법($2)이 있습니다"],
  [/the patterns took too long together; some were not tried/,
    "정규식 키워드가 오래 걸려 일부는 찾지 않았습니다"],
  [/the keys took too long together; some were left out/, "키워드가 너무 많아 일부는 찾지 않았습니다"],
  [/the Chroma server cannot be reached \((\w+)\); see that it runs/,
    "Chroma 서버에 연결할 수 없습니다($1)"],
  [/(?:the )?Chroma(?: server)? did not answer and rests; it is tried again in (\d+) s/,
    "Chroma가 응답하지 않아 $1초 뒤에 다시 시도합니다"],
  [/the story is being built anew; try again/, "스토리를 다시 색인하는 중입니다"],
  [/the story's index is incomplete; build it again/, "스토리 색인이 온전하지 않으니 다시 만들어 주세요"],
  [/the reranker failed \((\w+)\)/, "리랭커 오류($1)"],
  [/the rerank server failed \((\w+)\)/, "리랭커 서버 오류($1)"],
  [/^kept the newest ([\d,]+) messages of ([\d,]+)(?: lines)?: a request holds no more$/,
    "너무 길어서 최근 메시지 $1개만 불러왔습니다(전체 $2)"],
  [/^kept the first ([\d,]+) of ([\d,]+) entries: a request holds no more$/,
    "너무 길어서 앞의 항목 $1개만 불러왔습니다(전체 $2개)"],
  // Of chats.
  [/^([\d,]+) of ([\d,]+) lines have no text that is known here(?:; their keys are (.+))?$/,
    (_, lost, all, keys) => `메시지 ${all}개 중 ${lost}개의 내용을 찾지 못했습니다${keys ? `(키: ${keys})` : ""}`],
  [/^([\d,]+) of ([\d,]+) lines say neither role nor name$/,
    "메시지 $2개 중 $1개는 누구의 말인지 알 수 없어 뺐습니다"],
  [/^([\d,]+) of ([\d,]+) lines damaged and left out: line (.+)$/, "$2줄 중 $1줄이 손상되어 뺐습니다($3번째 줄)"],
  [/^([\d,]+) ([a-z-]+) (?:lines?|parts?) (?:is|are) left out$/,
    (_, count, kind) => `${KO_LEFT_OUT[kind] || "대화가 아닌 것"} ${count}개는 뺐습니다`],
  [/^([\d,]+) lines? (?:is|are) cut after ([\d,]+) characters$/,
    "$2자를 넘는 메시지 $1개는 뒷부분을 잘랐습니다"],
  [/^([\d,]+) times? (?:is|are) not understood$/, "메시지 $1개의 시각을 읽지 못했습니다"],
  [/^(.+?)(?: and ([\d,]+) more)? may be a speaker and was read as words; .*$/, (_, names, more) =>
    `${names}${more ? ` 밖에 ${more}개` : ""}: 화자일 수 있는 말을 대사로 읽었습니다. 화자라면 여러 줄에 이름을 적어 주세요`],
  [/^`(.+)` is taken for the (user|character); .*$/,
    (_, name, who) => `${who === "user" ? "유저" : "캐릭터"}의 이름을 ‘${name}’(으)로 보았습니다. ` +
      "아니라면 ‘내 이름’에 유저의 이름을 적고 다시 불러와 주세요"],
  [/^read chat ([\d,]+) of ([\d,]+); the others are left out$/, "대화 $2개 중 $1번째만 불러왔습니다"],
  [/^not read: (.+)$/, (_, parts) => `불러오지 않은 것: ${retold(parts, KO_BESIDE)}`],
  [/^was read as (UTF-16|CP949) text.*$/, "$1 인코딩으로 읽었습니다"],
  // Characters and what carries them
  [/^holds copies that differ in (.+); the newest, `(\w+)`, was read$/,
    "그림에 서로 다른 카드가 들어 있어($1) 가장 새것($2)을 읽었습니다"],
  [/^its `(\w+)` copy is damaged and was passed over$/,
    "그림에 든 카드 사본($1)이 손상되어 다른 사본을 읽었습니다"],
  [/^its `(.+)` is not read$/, "$1 파일은 읽지 않았습니다"],
  [/^the picture is a damaged PNG \(wrong CRC at byte ([\d,]+)\); download it again$/,
    "그림 일부가 손상되었습니다($1번째 바이트). 다시 내려받는 것이 좋습니다"],
  [/^the picture is a PNG that ends early; download it again$/,
    "그림이 중간에 끊겼습니다. 다시 내려받는 것이 좋습니다"],
  [/^`(\w+)` is empty in `data`; read from beside it$/, "$1 항목을 data 밖에서 읽었습니다"],
  [/^`spec` is missing; read as (V\d)$/, "spec이 없어 $1 카드로 읽었습니다"],
  [/^unknown `spec`; read as V3$/, "모르는 spec이라 V3 카드로 읽었습니다"],
  [/^`spec_version` ([\d.]+) is newer than ([\d.]+); read as .*$/,
    "카드 버전($1)이 $2보다 새것이라 $2로 읽었습니다"],
  [/^has a `spec` but no `data`; read as V1$/, "data가 없어 V1 카드로 읽었습니다"],
  [/^`name` is empty$/, "캐릭터 이름이 비어 있습니다"],
  [/^`group_only_greetings` is required in V3$/, "V3에 있어야 할 group_only_greetings가 없습니다"],
  [/^`(\w+)` is missing$/, "$1 항목이 없습니다"],
  [/^`(\w+)` has more than (\d+); the others are left out$/,
    "$1 항목이 $2개를 넘어 나머지는 뺐습니다"],
  [/^`(\w+)` should be (a text|a number|an object|a list of .+)$/, "$1 항목의 형식이 달라 읽지 않았습니다"],
  [/^only the first of its (\d+) characters was read$/, "캐릭터 $1명 가운데 첫 번째만 읽었습니다"],
  [/^only the first (\d+) of its (\d+) scenarios were read$/, "시나리오 $2개 가운데 $1개만 읽었습니다"],
  [/^only the first of its (\d+) scenarios and all greetings were taken$/,
    "시나리오 $1개 가운데 첫 번째와 모든 첫인사를 읽었습니다"],
  [/^a scenario that its manifest names is missing$/, "시나리오 하나가 없습니다"],
  [/^a damaged or very large scenario was left out$/, "손상되었거나 너무 큰 시나리오 하나를 뺐습니다"],
  [/^a chat of (\d+) messages is left out$/, "안에 든 대화(메시지 $1개)는 뺐습니다"],
  [/^its chats are left out$/, "안에 든 대화는 뺐습니다"],
  [/^what stands beside the character is left out: (.+)$/, "캐릭터 밖에 있는 항목은 뺐습니다: $1"],
  [/^`persona` has no text that is known here; its keys are (.+)$/,
    "페르소나에서 글을 찾지 못했습니다(항목: $1)"],
  // What is odd in a lorebook.
  [/^([\d,]+) of ([\d,]+) entries have no text that is known here(?:; their keys are (.+))?$/,
    (_, lost, all, keys) =>
      `항목 ${all}개 중 ${lost}개에서 내용을 찾지 못했습니다${keys ? `(들어 있는 키: ${keys})` : ""}`],
  [/^([\d,]+) entr(?:y|ies) without text, left out: (.+)$/, "내용이 없는 항목 $1개는 쓰이지 않습니다: $2"],
  [/^([\d,]+) entr(?:y|ies) without keys that never take part: (.+)$/,
    "키워드가 없어 쓰이지 않는 항목이 $1개 있습니다: $2"],
  [/^([\d,]+) entr(?:y|ies) with the id of another: (.+)$/, "id가 겹치는 항목이 $1개 있습니다: $2"],
  [/^all entries are disabled$/, "모든 항목이 꺼져 있습니다"],
  [/^([^`]+)'s `([^`]+)` has no place here(?:: ([\d,]+) entr(?:y|ies))?$/,
    (_, program, name, count) =>
      `${program === "the book" ? "로어북" : program}의 ${name} 설정은 여기서 쓰이지 않습니다${count ? `(항목 ${count}개)` : ""}`],
  [/^NovelAI's `searchRange`: (\d+) characters are one message here$/,
    "NovelAI의 searchRange는 $1자를 메시지 하나로 셉니다"],
  [/^([\d,]+) more settings have no place here$/, "그 밖의 설정 $1가지도 쓰이지 않습니다"],
  [/^([^`]+)'s `([^`]+)` is no lore and is not read$/,
    "$1 파일의 $2 부분은 로어가 아니어서 읽지 않았습니다"],
  [/^entry ([^`]*): `([^`]+)` is (\S+), which is not known; left out$/,
    "항목 $1: $2 값 $3은(는) 알 수 없어 뺐습니다"],
  [/^entry ([^`]*): `extensions.iyagi` is not as it was written here; left out$/,
    "항목 $1: extensions.iyagi 값을 읽을 수 없어 뺐습니다"],
];
const KO_LEFT_OUT = {
  hidden: "숨긴 메시지", empty: "빈 메시지", tool: "도구가 쓴 것", notice: "알림",
  thought: "모델이 생각한 것", "out-of-character": "역할 밖의 메시지",
};
const KO_BESIDE = [
  ["its note", "노트"], ["its own lore", "대화의 로어"], ["its variables", "변수"],
  ["its summaries", "요약"], ["its memory", "메모리"], ["its world info", "월드 인포"],
];
/** Files that carry no character, in the words of an error. */
const KO_CARRIERS = [
  [/^old Office document$/, "옛 오피스 문서"], [/^sound or film$|^film or sound$/, "소리나 영상 파일"],
  [/^sound file$/, "소리 파일"], [/^film$/, "영상 파일"], [/^Java archive$/, "자바 압축 파일"],
  [/^module or preset of RisuAI$/, "RisuAI 모듈이나 프리셋"],
  [/^module of RisuAI \(\.risum\)$/, "RisuAI 모듈(.risum)"],
  [/^backup of RisuAI$/, "RisuAI 백업"], [/^preset of (\w+)$/, "$1 프리셋"],
  [/^regex script of (\w+)$/, "$1 정규식 스크립트"],
  [/^set of quick replies of (\w+)$/, "$1 빠른 답장 모음"], [/^theme of (\w+)$/, "$1 테마"],
  [/^settings file of (\w+)$/, "$1 설정 파일"], [/^group of (\w+)$/, "$1 그룹"],
  [/^backup of personas of (\w+)$/, "$1 페르소나 백업"],
  [/^instruction template$/, "프롬프트 틀 파일"],
  [/ picture$/, " 그림"], [/ archive$/, " 압축 파일"], [/ document$/, " 문서"], [/ file$/, " 파일"],
  [/ database$/, " 데이터베이스"], [/ book$/, " 책"], [/ app$/, " 앱"],
];
/** What a code of schemas/errors.py means where the text is not known. */
const KO_CODES = {
  bad_request: "요청이나 파일에 잘못된 곳이 있습니다", settings: "서버 설정에 잘못된 곳이 있습니다",
  embedding: "의미 검색 모델이 응답하지 않았습니다", store: "저장소를 읽거나 쓰지 못했습니다",
  llm: "언어 모델이 답변하지 못했습니다", deadline: "제한 시간 안에 답변을 마치지 못했습니다",
  too_large: "응답이 너무 큽니다", internal: "서버 안에서 문제가 생겼습니다",
};
const KO_FIELDS = {
  message: "메시지", user_note: "유저 노트", user_name: "내 이름", user: "내 이름", persona: "캐릭터",
  history: "대화 기록", story: "스토리", story_id: "스토리 id", story_position: "스토리 위치",
  model: "모델", gen: "생성 설정", "the file": "파일", name: "이름", content: "내용", role: "역할",
};
/** The texts of errors that a player may meet. */
const KO_ERRORS = [
  [/^has more than ([\d,]+) characters; shorten it$/, "$1자를 넘습니다. 줄여 주세요."],
  [/^has more than ([\d,]+) items; send fewer$/, "항목이 $1개를 넘습니다. 줄여 주세요."],
  [/^is empty; write some text, or .*$/,
    "비어 있습니다. 내용을 쓰거나, /continue로 이야기를 이어 가세요."],
  [/^is empty; give it a value, or leave the field out$/, "비어 있습니다. 내용을 넣거나 빼 주세요."],
  [/^is required; add it$/, "꼭 필요합니다. 넣어 주세요."],
  [/^must be a text$/, "텍스트여야 합니다."], [/^must be a JSON object$/, "JSON 객체여야 합니다."],
  [/^must be a finite number, not NaN or infinity$/, "유한한 숫자여야 합니다."],
  [/^unknown field; did you mean '(.+)'\?$/, "없는 항목입니다. 혹시 $1 항목인가요?"],
  [/^unknown field; known are (.+)$/, "없는 항목입니다. 쓸 수 있는 항목: $1"],
  [/^unknown field; remove it$/, "없는 항목입니다. 빼 주세요."],
  [/^holds a line break; write it in one line$/, "줄바꿈이 있습니다. 한 줄로 적어 주세요."],
  [/^holds half of a character .*$/, "깨진 글자가 있습니다. 다시 적어 주세요."],
  [/^input should be (greater|less) than or equal to ([-\d.e]+)$/,
    (_, way, bound) => `${bound} ${way === "less" ? "이하" : "이상"}의 숫자여야 합니다.`],
  [/^input should be greater than ([-\d.e]+)$/, "$1보다 큰 숫자여야 합니다."],
  [/^input should be less than ([-\d.e]+)$/, "$1보다 작은 숫자여야 합니다."],
  [/^input should be a valid integer.*$/, "정수여야 합니다."],
  [/^input should be a valid number.*$/, "숫자여야 합니다."],
  [/^input should be ('.+')$/,
    (_, known) => `다음 중 하나여야 합니다: ${known.replace("' or '", "', '")}`],
  [/^is the longest field of a request of more than ([\d.]+) MB; .*$/,
    "요청이 $1 MB를 넘습니다. 가장 긴 이 부분을 줄여 주세요."],
  [/^event (\d+) has the id of event (\d+); give each its own$/,
    "사건 $1번과 $2번의 id가 같습니다. 서로 다르게 지어 주세요."],
  [/^is not offered here; choose among: (.*)$/, "이 서버에 없는 모델입니다. 쓸 수 있는 모델: $1"],
  [/^no such character; on offer: (.*)$/, "없는 캐릭터입니다. 고를 수 있는 캐릭터: $1"],
  [/^no such story is indexed; .*$/, "색인해 둔 스토리가 없습니다. 먼저 색인하거나 사건을 직접 보내 주세요."],
  [/^is larger than (\d+) MB.*$/, "$1 MB를 넘습니다. 더 작은 파일을 써 주세요."],
  [/^holds more than (\d+) MB of (JSON|YAML); use a smaller file$/,
    "$2이 $1 MB를 넘습니다. 더 작은 파일을 써 주세요."],
  [/^is not JSON: .* at line (\d+), column (\d+)$/s,
    "JSON 형식이 아닙니다. $1번째 줄 $2번째 글자를 확인해 주세요."],
  [/^is not UTF-8 text \(byte ([\d,]+)\); save it as UTF-8$/,
    "UTF-8 파일이 아닙니다($1번째 바이트). UTF-8로 다시 저장해 주세요."],
  [/^is nested (?:more|deeper) than (\d+) levels(?: deep)?; flatten it$/,
    "JSON이 $1단계보다 깊습니다. 구조를 단순하게 바꿔 주세요."],
  [/^holds a number that is .*$/, "쓸 수 없는 숫자가 들어 있습니다. 고치거나 빼 주세요."],
  [/^must hold a JSON object, such as a card or a book$/,
    "캐릭터 카드나 로어북 같은 JSON 객체가 있어야 합니다."],
  [/^is no chat; write each message as `Name: words`$/,
    "대화 파일이 아닙니다. 한 줄에 하나씩 ‘이름: 대사’ 꼴로 적어 주세요."],
  [/^holds no messages$/, "메시지가 없습니다."],
  [/^is no chat that can be read: (.+)$/,
    (_, why) => `읽을 수 있는 대화가 아닙니다. ${retold(why, KO_WARNINGS)}.`],
  [/^is no chat in a form that is known here; its keys are (.+)$/, "알 수 없는 형식의 대화입니다. 키: $1"],
  [/^does not say who the user is: one of (.+); .*$/,
    "누가 유저인지 알 수 없습니다. ‘내 이름’에 유저의 이름을 적고 다시 불러와 주세요. 나온 이름: $1"],
  [/^is neither a character card nor a lorebook nor a chat$/,
    "캐릭터 카드, 로어북, 대화 어느 것도 아닙니다."],
  [/^is neither a character card nor a persona$/, "캐릭터 카드가 아닙니다."],
  [/^is no lorebook; it has no `entries`$/, "로어북이 아닙니다. entries가 없습니다."],
  [/^holds no entries$/, "로어북에 항목이 없습니다."],
  [/^begins with an entry that is larger than a request; shorten it$/,
    "첫 항목이 너무 큽니다. 줄여 주세요."],
  [/^has no text that is known here in ([\d,]+) of ([\d,]+) entr(?:y|ies)(?:; their keys are (.+))?$/,
    (_, lost, all, keys) => `로어북 항목 ${all}개 중 ${lost}개에서 내용을 찾지 못했습니다.` +
      `${keys ? ` 들어 있는 키: ${keys}` : ""}`],
  [/^is a lorebook without text; of ([\d,]+)(?: entr(?:y|ies))? each is empty$/,
    "로어북의 항목 $1개가 모두 비어 있습니다."],
  [/^is a script of JanitorAI; only its books of entries are read$/,
    "JanitorAI 스크립트입니다. 항목으로 된 로어북만 읽을 수 있습니다."],
  [/^holds more events than a request; .*$/, "사건이 너무 많습니다. 먼저 색인해 주세요."],
  [/^is not a PNG picture$/, "PNG 그림이 아닙니다."],
  [/^is a PNG that ends early; download it again$/, "PNG 파일이 중간에 끊겼습니다. 다시 내려받아 주세요."],
  [/^is a damaged PNG .*; download it again$/, "PNG 파일이 손상되었습니다. 다시 내려받아 주세요."],
  [/^embeds `(.+)` data that is not base64; export the card again$/,
    "카드 데이터($1)가 손상되었습니다. 카드를 다시 내보내 주세요."],
  [/^is a damaged zip; download it again$/, "압축 파일이 손상되었습니다. 다시 내려받아 주세요."],
  [/^is a zip without `card.json`; .*$/,
    "card.json이 없는 압축 파일입니다. 압축을 풀어 그 안의 카드나 대화를 불러와 주세요."],
  [/^has more than ([\d,]+) files inside; remove some assets$/,
    "안에 든 파일이 $1개를 넘습니다. 줄여 주세요."],
  [/^unpacks to more than (\d+) MB; shrink it$/, "압축을 풀면 $1 MB를 넘습니다. 줄여 주세요."],
  [/^holds a file of more than (\d+) MB; shrink it$/, "안에 $1 MB를 넘는 파일이 있습니다. 줄여 주세요."],
  [/^holds two files of one name; export the card again$/,
    "이름이 같은 파일이 둘 있습니다. 카드를 다시 내보내 주세요."],
  [/^holds a file name that leaves the archive; do not trust this file$/,
    "위험한 파일 이름이 들어 있습니다. 이 파일은 쓰지 마세요."],
  // Characters and what carries them
  [/^embeds `(.+)` data that cannot be unpacked; export the card again$/,
    "카드 데이터($1)의 압축을 풀 수 없습니다. 카드를 다시 내보내 주세요."],
  [/^is a PNG of more than ([\d,]+) parts; save it anew$/,
    "PNG가 $1개가 넘는 조각으로 되어 있습니다. 그림을 다시 저장해 주세요."],
  [/^is a zip whose manifest names no character; .*$/,
    "압축 파일 안에 캐릭터가 없습니다. 카드가 아닙니다."],
  [/^is (?:an? )?(.+), which carries no card here; .*$/,
    (_, what) => `${retold(what, KO_CARRIERS)}에서는 카드를 읽을 수 없습니다. `
      + "카드는 PNG, CHARX, JSON으로, 대화는 JSON이나 텍스트로 내보내 주세요."],
  [/^is no character, lorebook or chat in a form that is known here(?:; its keys are )?(.*); export it in another format$/,
    (_, keys) => `캐릭터, 로어북, 대화 가운데 무엇인지 알 수 없는 파일입니다${keys ? `(들어 있는 키: ${keys})` : ""}. 다른 형식으로 내보내 주세요.`],
  [/^is no text, picture or archive that is known here; export it anew$/, "알 수 없는 종류의 파일입니다. 다시 내보내 주세요."],
  [/^is a damaged table at line ([\d,]+); save it anew as CSV$/,
    "표가 $1번째 줄에서 깨져 있습니다. CSV로 다시 저장해 주세요."],
  [/^is an? (.+), and no character, lorebook or chat$/,
    (_, what) => `${retold(what, KO_CARRIERS)}입니다. 캐릭터도, 로어북도, 대화도 아닙니다.`],
  [/^is empty$/, "빈 파일입니다."],
  [/^holds (\d+) characters; save each of them in a file of its own$/,
    "캐릭터가 $1명 들어 있습니다. 한 명씩 따로 저장해 주세요."],
  [/^V1 would lose fields of the card; .*$/, "V1로는 카드 항목을 잃습니다. V2나 V3로 저장해 주세요."],
  [/^is not YAML.*$/, "YAML 형식이 아닙니다. 고치거나 JSON으로 저장해 주세요."],
  [/^holds YAML anchors, .*$/, "YAML 앵커(&, *)는 읽지 않습니다. 내용을 직접 적어 주세요."],
  [/^has a `spec` but no `data` object; export the card again$/,
    "카드에 data가 없습니다. 카드를 다시 내보내 주세요."],
  [/^is empty; give the character a name$/, "비어 있습니다. 캐릭터 이름을 적어 주세요."],
  [/^holds more text than a request; .*$/, "카드가 너무 깁니다. 첫인사나 확장 데이터를 줄여 주세요."],
  [/^is a picture without a card; .*$/,
    "카드가 들어 있지 않은 그림입니다. 카드를 만든 앱에서 다시 내보내 주세요."],
  [/^is no character card; .*$/, "캐릭터 카드가 아닙니다. spec도 name도 없습니다."],
  [/^holds more than ([\d,]+) values; .*$/, "값이 $1개를 넘습니다. 쓰지 않는 것을 빼 주세요."],
  [/^cannot be written as JSON; .*$/, "JSON으로 쓸 수 없는 값이 있습니다. 고치거나 빼 주세요."],
  [/^is encrypted; export the card without a password$/,
    "암호가 걸려 있습니다. 암호 없이 다시 내보내 주세요."],
  [/^the LLM server cannot be reached or hung up; .*$/,
    "언어 모델 서버에 연결할 수 없거나 연결이 끊겼습니다. 서버가 켜져 있는지, 주소가 맞는지 확인해 주세요."],
  [/^the LLM server sent nothing for ([\d.]+) s; try again later$/,
    "언어 모델 서버가 $1초 동안 응답하지 않았습니다. 잠시 뒤에 다시 시도해 주세요."],
  [/^the LLM server is busy or failed \(HTTP (\d+)\); try again later$/,
    "언어 모델 서버가 바쁘거나 오류가 났습니다(HTTP $1). 잠시 뒤에 다시 시도해 주세요."],
  [/^the LLM server refuses the key \(HTTP (\d+)\); check it$/,
    "언어 모델 서버가 키를 거절했습니다(HTTP $1). 키를 확인해 주세요."],
  [/^the LLM server knows no such model or address \(HTTP 404\); .*$/,
    "언어 모델 서버에 그런 모델이나 주소가 없습니다(HTTP 404). 모델 이름과 서버 주소를 확인해 주세요."],
  [/^the LLM server refuses the request \(HTTP (\d+)\); .*$/,
    "언어 모델 서버가 요청을 거절했습니다(HTTP $1). 컨텍스트 길이, 모델 이름, 샘플링 값을 확인해 주세요."],
  [/^the LLM server reported an error in the middle of its answer$/,
    "언어 모델 서버가 답변하는 도중에 오류가 났습니다. 다시 시도해 주세요."],
  [/^the LLM server sent something that is no stream of completions; .*$/,
    "언어 모델 서버가 알 수 없는 응답을 보냈습니다. OpenAI 호환 API의 주소인지 확인해 주세요."],
  [/^the LLM server points to another address \(HTTP (\d+)\), .*$/,
    "언어 모델 서버가 다른 주소로 옮겨 갔습니다(HTTP $1). IYAGI_LLM_URL을 최종 주소로 바꿔 주세요."],
  [/^the model wrote nothing that its role may say; .*$/,
    "모델이 쓸 수 있는 답변을 내놓지 않았습니다. 다시 시도해 주세요."],
  [/^the job was not done after ([\d.]+) s; try again later$/,
    "$1초 안에 답변을 마치지 못했습니다. 잠시 뒤에 다시 시도해 주세요."],
  [/^the answer is larger than (\d+) MB; .*$/, "응답이 $1 MB를 넘습니다. 불러오는 기억을 줄여 주세요."],
  [/^the job's answers are larger than (\d+) MB together; .*$/, "응답이 모두 $1 MB를 넘습니다."],
  [/^the embedder's vectors changed their length; .*$/, "임베딩 모델이 바뀌었습니다. 다시 시도해 주세요."],
  [/^something went wrong inside; the log has it as (\w+)$/,
    "서버 안에서 문제가 생겼습니다. 로그에서 $1 번호로 찾을 수 있습니다."],
];
const KO_CUTS = {
  turn_header: "프롬프트 형식의 머리글", thinking: "생각 과정", own_tag: "이름표", user_tag: "유저 대사",
  other_tag: "다른 인물의 대사", format_token: "형식 토큰", stop: "중지 문자열",
  notes: "프롬프트를 베낀 부분",
  partial_stop: "중지 문자열의 앞부분", quotes: "답변 전체를 감싼 따옴표", unfinished: "끝나지 않은 문장",
};
const EN_CUTS = {
  turn_header: "the format’s header", thinking: "thinking", own_tag: "the writer’s name",
  user_tag: "words of the user", other_tag: "words of somebody else", format_token: "a format token",
  stop: "a stop string", notes: "what was copied from the prompt", partial_stop: "the beginning of a stop string",
  quotes: "quotation marks around the whole", unfinished: "an unfinished sentence",
};
/** The sentences of routing/weights.toml: `about`; of two, `about` and `about_below_0`. */
const KO_EVIDENCE = {
  scene_narrator_recent: "최근 대화에 내레이터의 서술이 있다",
  scene_narrator_share: "앞선 대화에 내레이터의 서술이 있다",
  scene_narrator_to_you: "마지막 메시지가 유저에게 말을 거는 서술이다",
  scene_narrator_long: "마지막 메시지가 긴 서술이다",
  scene_person_last: "마지막 메시지가 인물의 대사가 있는 서술이다",
  scene_person_asks: "마지막 메시지가 인물의 대사와 질문이 있는 서술이다",
  scene_person_near: "가장 최근 서술에 인물의 대사가 있다",
  scene_character_asks: "캐릭터가 방금 질문했다",
  scene_character_to_you: "캐릭터가 방금 상대에게 말을 걸었다",
  scene_game: "서술이 게임처럼 플레이어에게 말을 걸거나 규칙을 말한다",
  scene_rules: "최근 대화에 주사위나 규칙 이야기가 있다",
  scene_actions: "최근 대화에서 누군가 행동한다",
  scene_voices: "최근 대화에서 캐릭터가 말했다",
  scene_user_share: "최근 대화에 유저의 말이 있다",
  scene_user_then_narrator: "유저의 말에 내레이터가 방금 답했다",
  scene_user_answered_by_narrator: [
    "유저의 말에 인물보다 내레이터가 더 자주 답했다",
    "유저의 말에 내레이터보다 인물이 더 자주 답했다",
  ],
  says_nothing: "아무 말도 없거나 계속하라는 말뿐이다",
  says_only_action: "대사 없이 행동뿐이다",
  says_acts: "어떤 행동을 한다고 썼다",
  says_act_and_speech: "행동과 대사가 함께 있다",
  says_asks_scene: "주변이나 시간, 규칙을 묻거나 이야기를 들려 달라고 한다",
  says_asks_scene_not_you: "특정 상대 없이 장면을 질문한다",
  says_asks_scene_last: "마지막 질문이 장면에 관한 것이다",
  says_third_person: "다른 사람이나 사물 이야기를 한다",
  says_question: "질문이다",
  says_rules: "주사위나 규칙을 언급한다",
  says_score: "주사위 눈 같은 숫자를 말한다",
  says_you: "상대에게 말을 건다",
  says_name: "누군가의 이름을 부르거나 여럿을 한꺼번에 부른다",
  says_plans: "‘우리’라고 하거나 무언가를 제안한다",
  says_talk: "감사, 의견, 핑계처럼 대화에서 쓰는 말이 있다",
  says_moves: "장소를 옮기거나 시간을 넘긴다",
  says_exclaims: "느낌표를 썼다",
  says_near_trigger: "다음 사건과 가까운 내용이다",
  says_like_exemplars: [
    "대화보다 서술을 바라는 말에 가깝다",
    "서술을 바라는 말로 볼 근거가 없다",
  ],
  says_prose: "별표 없이 소설처럼 쓴 행동이다",
  says_politely: "상대에게 쓴 존댓말이다",
  says_to_nobody: "질문도 아니고 누구에게 거는 말도 아니다",
  says_to_oneself: "혼잣말이거나 끝맺지 않은 말이다",
  says_cries: "짧은 외침이거나 외침으로 시작한다",
  says_sets_out: "길을 나서거나, 무언가를 시작하거나 끝내거나 시키는 말이다",
  says_takes_leave: "승낙이나 작별 인사이고 질문이 없다",
  both_nobody_narrates: "앞선 대화에 내레이터의 서술이 없다",
  both_names_narrator: "내레이터의 이름을 언급한다",
  both_question_to_person: "질문이고, 가장 최근 서술에 인물의 대사가 있다",
  both_you_to_person: "상대에게 말을 걸고, 가장 최근 서술에 인물의 대사가 있다",
};
const EN = {
  character: "Character", yourName: "Your name", open: "Open a file …", save: "Save the chat",
  note: "Standing note", noteHelp: "A wish for every reply to keep, such as: long descriptions.",
  fresh: "New chat", chat: "Chat", message: "Your message", send: "Send", stop: "Stop",
  hint: "Enter sends, Shift+Enter starts a new line, Escape stops a reply.",
  answer: "Answers", auto: "whoever fits", asCharacter: "the character",
  asNarrator: "the narrator", turn: "The turn",
  empty: "After the first reply, this shows how it came about.",
  demo: "Example", user: "You", Narrator: "Narrator", show: "Show its turn", steps: "Steps",
  answered: "Answered by {0}", confidence: "confidence {0} %", evidence: "Evidence", and: "; ",
  side: "{1} for {0}", weight: "Weight", byStory: "the story reaches an event",
  recalled: "Recalled", source: "Source", score: "Score", why: "Why",
  text: "Text", used: "Used", delivered: "delivered", dropped: "dropped",
  nothing: "Nothing was recalled.", chatSource: "chat", storySource: "story", loreSource: "lore",
  ledger: "Tokens of the prompt", total: "{0} of {1} tokens, format {2}",
  cached: "The first {0} tokens ({1} %) were in the engine’s cache already.",
  uncached: "The model’s server told of no tokens found in its cache.",
  system: "system", examples: "examples",
  history: "history", said: "message", memories: "memories", story: "story", frame: "headings",
  instruction: "instruction", cut: "{0} messages are outside of the window.",
  prompt: "The exact prompt", raw: "The raw reply", progress: "Story", loreOut: "Lore left out",
  reached: "Reached: {0}", next: "Next: {0}", loaded: "{0}: loaded", loadedStory: "{0}: {1} events and lore added",
  reading: "The model is reading the prompt ({0} %)", stopped: "Stopped", lost: "The server cannot be reached; check that it runs.", ms: "{0} ms",
  saved: "Saved", cuts: "Left out", warning: "Note", unread: "A part is missing",
  failed: "Something went wrong",
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
  else text.append(...styled(line.content));
  $("log").append(item);
  if (turn) linkTurn(item, turn);
  return item;
}

/** A piece of a reply; the space around a window of the state of things stays outside of its box. */
function piece({ type, text }) {
  const inside = type === "status" ? text.trim() : text, at = text.indexOf(inside);
  const parts = document.createDocumentFragment();
  parts.append(text.slice(0, at), el("span", { class: type }, inside),
    text.slice(at + inside.length));
  return parts;
}

/** What a line of the chat marks by itself: `*deeds*`, and windows of the state of things, which
 *  stand between fences or, with a bar between their values, in brackets of their own line. */
const MARKED = new RegExp([
  /(?<![*\\])(?<action>\*(?![\s*])[^*\n]{0,2000}(?<!\s)\*)(?!\*)/,
  /(?<status>^```[^`]{0,4000}^```$|^\[[^\]\n:|]{1,80}:[^\]\n|]{0,200}\|[^\]\n]{0,1000}\]$)/,
].map(({ source }) => source).join("|"), "gm");

/** A line that is known as text only, styled as the pieces of a reply are; not a sign is changed. */
function styled(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(MARKED)) {
    const [type] = Object.entries(found.groups).find(([, part]) => part);
    parts.push(text.slice(end, found.index), piece({ type, text: found[0] }));
    end = found.index + found[0].length;
  }
  return [...parts, text.slice(end)].filter(Boolean);
}

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
  if (request.user_note !== undefined) setNote(request.user_note ?? "");
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

/** The time here, with its distance from UTC, which macros of cards tell. */
function now() {
  const date = new Date(), minutes = -date.getTimezoneOffset(), size = Math.abs(minutes);
  const two = (number) => String(number).padStart(2, "0");
  const here = new Date(date.getTime() + minutes * 60_000).toISOString().slice(0, 19);
  return `${here}${minutes < 0 ? "-" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

function requestFor(message, timestamp) {
  const { message: _, history: __, user_note: ___, meta, ...rest } = chat.request;
  const asked = { ...rest, message, timestamp, history: chat.history, session_id: chat.session };
  asked.respond_as = $("respond-as").value;
  const note = $("note").value.trim();
  if (note) asked.user_note = note;
  asked.meta = { ...meta, debug: true };
  if (chat.story) asked.meta.story = chat.story;
  if (chat.position !== undefined && chat.position !== null) asked.story_position = chat.position;
  return asked;
}

/** Folded away, it shows that it holds something. */
function setNote(text) {
  $("note").value = text;
  $("note").closest("details").classList.toggle("set", Boolean(text.trim()));
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
  const said = { role: "user", content: message, timestamp: now() };
  const body = JSON.stringify(requestFor(message, said.timestamp));
  if (chat.request.user_name) said.name = chat.request.user_name;
  const asked = addLine(said);
  const item = addLine({ role: "character", content: "" });
  item.classList.add("busy");
  scrollDown();
  running = new AbortController();
  busy(true);
  try {
    const answer = await fetch("api/turn", { method: "POST", body, signal: running.signal });
    if (!answer.ok) throw await refusal(answer);
    for await (const event of linesOf(answer)) onEvent(event, item, said);
    if (item.classList.contains("busy")) throw new Error(t("lost"));
    notice("");
  } catch (error) {
    const words = error.name === "AbortError" ? t("stopped")
      : error instanceof TypeError || error instanceof SyntaxError ? t("lost") : error.message;
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
  if (event.type === "token") {
    if (!item.querySelector(".text").textContent) notice("");
    item.querySelector(".text").append(event.text);
  } else if (event.step === "reading") notice(t("reading", event.percent));
  else if (event.type === "segment" && event.content.type === "narration" &&
           event.content.speaker !== chat.request.persona.name) setSpeaker(item, "narrator");
  else if (event.type === "error") throw new Error(errorWords(event.error));
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
  if (!content) throw new Error(failureOf(response) || t("lost"));
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

/** Why this speaker answers: what speaks most for it, where the evidence decided. */
function routeReason(speaker, { reason: words, evidence }) {
  const sign = speaker === "narrator" ? 1 : -1;
  const because = evidence.filter((found) => found.contribution * sign > 0).slice(0, 3);
  if (/^narrator: the story reaches /.test(words)) return t("byStory");
  const decided = /^(narrator|character) [\d.]+: /.test(words); // by evidence alone
  return decided && because.length ? because.map(evidenceAbout).join(t("and")) : reason(words);
}

/** A bar from the middle to the side that a piece of evidence speaks for; `most` fills a half. */
function leaning({ contribution, value, weight }, most) {
  const side = contribution > 0 ? "narrator" : "character";
  const words = t("side", t(SIDES[side]), number(Math.abs(contribution), 2));
  const bar = el("i", { class: side });
  bar.style.width = `${(50 * Math.abs(contribution)) / most}%`;
  const title = `${number(value, 2)} × ${number(weight, 2)}`;
  return el("span", { class: "leaning", role: "img", "aria-label": words, title }, bar);
}

const SIDES = { character: "character", narrator: "Narrator" };

function evidenceOf(evidence) {
  const counts = evidence.map(({ contribution }) => Math.abs(contribution));
  const sides = el("span", { class: "sides" },
    el("span", {}, `← ${t(SIDES.character)}`), el("span", {}, `${t(SIDES.narrator)} →`));
  const rows = evidence.map((found, row) => ({ row: [evidenceAbout(found),
    leaning(found, Math.max(1, ...counts)), number(counts[row], 2)] }));
  const heads = [[t("evidence")], [sides], [t("weight"), "number"]];
  return el("details", {}, el("summary", {}, t("evidence")), table("evidence", heads, rows));
}

function routeOf(response) {
  const { route, story, reply, warnings = [], lore } = response.meta;
  const who = response.responded_as === "narrator" ? t("asNarrator") : t("asCharacter");
  const parts = [];
  if (route) {
    parts.push(el("p", {}, routeReason(response.responded_as, route), " ",
      el("span", { class: "soft tight" },
        `(${t("confidence", number(100 * route.confidence))})`)));
    if (route.evidence.length) parts.push(evidenceOf(route.evidence));
  }
  if (story) parts.push(progressOf(story));
  const words = lang === "ko" ? KO_CUTS : EN_CUTS;
  const cuts = (reply?.cuts || []).map((cut) => words[cut] || cut.replaceAll("_", " "));
  if (cuts.length) parts.push(el("p", {}, `${t("cuts")}: ${cuts.join(", ")}`));
  for (const warning of [...warnings, ...(lore?.warnings || [])])
    parts.push(el("p", {}, `${t("warning")}: ${warningWords(warning)}`));
  if (response.error) parts.push(el("p", { class: "error" }, failureOf(response)));
  return block(t("answered", who), ...parts);
}

/** How far the story has come, and what it waits for; an event goes by its title. */
function progressOf(story) {
  const id = story.event || story.next;
  const event = (chat.request.story || []).find((known) => known.id === id);
  const where = `${number(story.position_before)} → ${number(story.position_after)}`;
  const head = `${id} ${story.event ? "" : "not "}reached: `;
  const why = story.why.startsWith(head) ? story.why.slice(head.length) : story.why;
  return el("p", {}, `${t("progress")}: ${where}. `,
    t(story.event ? "reached" : "next", event?.title || id),
    el("span", { class: "soft" }, ` · ${lang === "ko" ? retold(why, KO_PROGRESS) : why}`));
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
const reason = (words) => (lang === "ko" && told(words, KO_REASONS)) || words;

/** The words by the first pattern of a table that they fit; undefined where they fit none. */
function told(words, rows) {
  const row = rows.find(([pattern]) => pattern.test(words));
  return row && words.replace(...row);
}

/** The words with all that a table knows of them put otherwise. */
const retold = (words, rows) => rows.reduce((text, row) => text.replace(...row), words);

function warningWords(words) {
  const korean = lang === "ko" ? retold(words, KO_WARNINGS) : words;
  return lang !== "ko" || korean !== words ? korean : `${t("unread")} (${words})`;
}

/** An error of the server in the page's language: by its text, else by its code with the text. */
function errorWords({ code, message = "", field, param }) {
  if (lang !== "ko") return message;
  const place = field || param || "";
  const [, line, others] = message.match(/^(.*?)(?: \(and (\d+) more\))?$/s);
  const said = place && line.startsWith(`${place}: `) ? line.slice(place.length + 2) : line;
  const [, inside, rest] = said.match(/^([\w.]{1,200}): (.+)$/s) || [, "", said];
  const known = told(said, KO_ERRORS), within = known ? "" : inside;
  const words = known || told(rest, KO_ERRORS);
  if (!words) return `${KO_CODES[code] || t("failed")} (${message})`;
  const path = [...place.split("."), ...within.split(".")].filter(Boolean);
  const named = path.map((part) => KO_FIELDS[part] || part).join(" ");
  return `${named && `${named}: `}${words}${others ? ` (이런 곳이 ${others}개 더 있습니다)` : ""}`;
}

/** What went wrong with the model in a turn. */
const failureOf = ({ error, meta }) =>
  error && errorWords({ code: "llm", ...meta?.error, message: error });

/** What a server says that refuses. */
async function refusal(answer) {
  const { error } = await answer.json().catch(() => ({}));
  return new Error(error ? errorWords(error) : t("lost"));
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
      t("cached", number(cached), number(100 * part))));
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
  if (!answer.ok) throw await refusal(answer);
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
    const values = query({ user: userName(), chat });
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
    notice([t("loadedStory", file.name, number(read.story.length)),
      ...read.notes.map(warningWords)].join("; "));
    return;
  } else {
    chat.history = read.history;
    chat.story = undefined;
    redraw();
  }
  notice([t("loaded", file.name), ...read.notes.map(warningWords)].join("; "));
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
  $("note").addEventListener("input", () => setNote($("note").value));
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
function showSingle({ persona, user_name, story, history, message, response }) {
  document.body.classList.add("single");
  chat.request = { persona, user_name, story };
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

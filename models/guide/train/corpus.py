"""Training conversations: questions on the facts, small noise, questions on anything else, and several turns.

Source: facts/*.txt, all written for this project.
"""
from grammar import expand, load_facts

SYSTEMS = ["You are a helpful assistant.", "You answer questions about Kwyre.", "Be brief.", "You are the guide of Kwyre.", "Answer politely and in English."]
PREFIXES = ["hey, ", "please, ", "sorry, ", "ok so ", "and ", "quick question: ", "i wonder, ", "tell me, ", "hi, ", "so ", "hello, ", "one more thing: ", "well, ", "could you tell me, ", "my boss asks: ", "just curious, "]
SUFFIXES = [" please", " in kwyre", " with kwyre", " exactly", " then", " again", " here", " thanks", " by default", " actually"]

THINGS = """pizza|a cake|bread|sushi|pasta|wine|coffee|tea|a garden|roses|tomatoes|a dog|cats|whales|dinosaurs|spiders|birds|horses|football|tennis|chess|golf|the olympics|swimming|yoga|marathon training|paris|london|berlin|japan|brazil|the moon|mars|black holes|the sun|gravity|atoms|electricity|photosynthesis|evolution|dna|vaccines|a headache|fever|diabetes|blood pressure|broken bones|the heart|taxes|mortgages|stocks|bitcoin|inflation|interest rates|insurance|a divorce|a contract|copyright|criminal law|the constitution|napoleon|julius caesar|world war two|the roman empire|the french revolution|cleopatra|shakespeare|mozart|the beatles|jazz|guitar chords|a poem|a novel|a joke|a riddle|a love letter|an email|a cover letter|a birthday card|the weather|climate change|earthquakes|volcanoes|rivers|mount everest|the ocean|airplanes|cars|trains|bicycles|engines|houses|bridges|furniture|paint|shoes|fashion|makeup|movies|star wars|harry potter|video games|minecraft|television|photography|cameras|excel|word documents|photoshop|wordpress|kubernetes|java|python lists|recursion|sorting algorithms|sql joins|html tables|css|regular expressions|git rebase|tcp and udp|bluetooth|printers|routers|my phone|an iphone|android|facebook|instagram|youtube|netflix|amazon|bananas|chocolate|cheese|soup|rice|eggs|chicken|salad|beer|cocktails|a wedding|a birthday party|a holiday|camping|hiking|fishing|babies|school|homework|an exam|algebra|integrals|geometry|prime numbers|statistics|fractions|chemistry|biology|physics|philosophy|religion|buddhism|the bible|psychology|sleep|stress|depression|a diet|weight loss|vitamins|teeth|hair|skin|the president|elections|democracy|the united nations|languages|latin|spanish verbs|grammar|english essays|a crossword|horoscopes|dreams|magic tricks|knitting|sewing|woodworking|a leaking tap|lightbulbs|washing machines|a lawn mower""".split("|")
OFF_FRAMES = """how do i make %|how do i cook %|tell me about %|what is %|who invented %|explain % to me|write % for me|write a poem about %|write a story about %|what are the best %|where can i buy %|how much does % cost|how old is %|why is % important|what is the history of %|how does % work|give me tips for %|what do you think of %|recommend % for me|translate % into french|what causes %|can you help me with %|i have a problem with %|how to fix %|what is the difference between % and %2|compare % with %2|which is better, % or %2|tell me a joke about %|is % healthy|is % dangerous|when was % invented|how many kinds of % are there|what is the capital of %|who is the best at %|how to learn %|what does % mean|how big is %|%|% please|facts about %|a short text on %|summarise % in two sentences|do you like %|what should i know about %|what time is % on|how do i get rid of %|how to take care of %|plan % for me|what colour is %|who wrote %|who won %|how far is %|what's the price of %|how do % work|how are % made|my question is about %|difference between % and %2""".split("|")
OFF_WHOLE = """what is 2 + 2|what is 17 times 23|solve x squared equals 9|what day is it today|what time is it|who is the president|what is the meaning of life|tell me a joke|sing a song|tell me a story|what is the capital of france|how tall is mount everest|write a haiku|how do i cook rice|who won the world cup|translate hello into german|is it going to rain tomorrow|what should i eat tonight|how do i tie a tie|how do i lose weight|what is love|flip a coin|pick a number|count to ten|what is your favourite colour|do you dream|write a python function that sorts a list|fix my code|how do i center a div|what is the square root of 144|convert 10 miles to kilometres|how many days until christmas|recommend a book|what is the best phone|play music|call my mother|book a flight|order a pizza|set an alarm|what is the weather like|how is the stock market|should i buy a house|i have a headache|my tooth hurts|is aspirin safe|how do i get a divorce|who was einstein|what is quantum physics|how old is the universe|why is the sky blue|how do magnets work""".split("|")

FOLLOW = {f"layer{n}": (f"layer{n + 1}", ["and the next layer", "and the next one", "next layer", "what about the next one", "and after that", "the next one please", "and then"]) for n in range(1, 6)}


def typo(text, rng):
    i = rng.randrange(len(text))
    kind = rng.randrange(3)
    if kind == 0:
        return text[:i] + text[i + 1:]
    if kind == 1 and i + 1 < len(text):
        return text[:i] + text[i + 1] + text[i] + text[i + 2:]
    return text[:i] + rng.choice("abcdefghijklmnopqrstuvwxyz") + text[i:]


def noise(text, rng):
    if rng.random() < 0.12:
        text = rng.choice(PREFIXES) + text
    if rng.random() < 0.08:
        text += rng.choice(SUFFIXES)
    words = text.split(" ")
    if len(words) > 3 and rng.random() < 0.12:
        words.pop(rng.randrange(len(words)))
    if len(words) > 3 and rng.random() < 0.04:
        i = rng.randrange(len(words) - 1)
        words[i], words[i + 1] = words[i + 1], words[i]
    text = " ".join(words)
    if len(text) > 6 and rng.random() < 0.14:
        text = typo(text, rng)
    case = rng.random()
    if case < 0.35:
        text = text[:1].upper() + text[1:]
    elif case < 0.37:
        text = text.upper()
    if rng.random() < 0.45:
        text += rng.choice("????.!") if rng.random() < 0.95 else "??"
    return text


class Corpus:
    def __init__(self):
        facts = load_facts()
        self.refusal = next(fact["answer"] for fact in facts if fact["id"] == "offtopic")
        self.facts = [fact for fact in facts if fact["patterns"]]
        self.by_id = {fact["id"]: fact for fact in self.facts}

    def question(self, fact, rng):
        if fact["keywords"] and rng.random() < 0.08:
            words = fact["keywords"]
            return noise(" ".join(rng.sample(words, min(len(words), rng.randint(2, 3)))), rng)
        for _ in range(10):
            text = expand(rng.choice(fact["patterns"]), rng)
            if text:
                return noise(text, rng)
        return fact["id"]

    def off(self, rng):
        if rng.random() < 0.15:
            return noise(rng.choice(OFF_WHOLE), rng)
        text = rng.choice(OFF_FRAMES)
        text = text.replace("%2", rng.choice(THINGS)).replace("%", rng.choice(THINGS))
        return noise(text, rng)

    def turn(self, rng):
        """A question, its answer, and the fact."""
        if rng.random() < 0.24:
            return self.off(rng), self.refusal, None
        fact = rng.choice(self.facts)
        return self.question(fact, rng), fact["answer"], fact["id"]

    def conversation(self, rng):
        """(system or None, [(question, answer)])"""
        system = rng.choice(SYSTEMS) if rng.random() < 0.25 else None
        turns = []
        wanted = 1 if rng.random() < 0.87 else rng.randint(2, 3)
        last = None
        while len(turns) < wanted:
            if last in FOLLOW and rng.random() < 0.4:
                following, wordings = FOLLOW[last]
                turns.append((noise(rng.choice(wordings), rng), self.by_id[following]["answer"]))
                last = following
                continue
            question, answer, last = self.turn(rng)
            turns.append((question, answer))
        return system, turns

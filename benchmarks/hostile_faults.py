def chroma(s): return {}
def outage(s): return {}
def resident(a,b): return {}

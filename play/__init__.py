"""A turn that you can look at, in the browser; and a front door for OpenAI's clients.

server          the routes, behind a guard for loopback
files           a dropped file as what the page can use
single          one turn as a page of its own
page.*          the page: plain HTML, CSS and JavaScript, nothing to build
"""

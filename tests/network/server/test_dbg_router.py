from test_asking import *
from test_asking import net, section_of

def test_router(net):
    job = net.job.replace("protocol.router", {"kind": "centroids", "count": 2, "margin": 0.5, "smallest": 1})
    done = at_server(job.replace("protocol.verify", True), net.line, net.folder)
    print("EVENTS", [(k, f) for k, f in done.events if k in ("failure", "warning")])
    print("CLIENTS", section_of(done)["clients"], section_of(done)["notes"])
    import glob
    for f in glob.glob(str(net.folder) + "/site-1/**/*.log", recursive=True) + glob.glob(str(net.folder) + "/**/*.txt", recursive=True):
        print(f, open(f).read()[-1500:])

package hosts

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/rackdns/rackdns/internal/dockerclient/dockertest"
)

// service runs one container as a service of the swarm that publishes its TCP port
// 80, on a manager or a worker, until the test ends.
func (s *site) service(t *testing.T, on *Host, role, name string, mode swarm.PortConfigPublishMode, published uint32) *Container {
	t.Helper()
	manager := s.swarm[0].Engine.Client
	c := &Container{Client: Client{Name: on.Name + "/" + name, Node: on}, Spec: Spec{Name: name, TCP: []uint16{80}}}
	c.Container = c
	_, err := manager.ServiceCreate(t.Context(), swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: name},
		TaskTemplate: swarm.TaskSpec{
			ContainerSpec: &swarm.ContainerSpec{Image: testImage, Args: []string{"-http=", "-tcp=80", "-udp="}, Env: []string{"CONTAINER_ID=" + c.Name}},
			Networks:      []swarm.NetworkAttachmentConfig{{Target: "mesh"}},
			Placement:     &swarm.Placement{Constraints: []string{"node.role==" + role}},
		},
		EndpointSpec: &swarm.EndpointSpec{Ports: []swarm.PortConfig{{
			Protocol: swarm.PortConfigProtocolTCP, TargetPort: 80, PublishedPort: published, PublishMode: mode,
		}}},
	}, swarm.ServiceCreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ofService := container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "com.docker.swarm.service.name="+name))}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), dockertest.CallLimit)
		defer cancel()
		if err := manager.ServiceRemove(ctx, name); err != nil {
			t.Error(err)
		}
		soon(t, "the end of service "+name, func() error {
			all, err := on.Engine.Client.ContainerList(ctx, ofService)
			if err == nil && len(all) > 0 {
				err = fmt.Errorf("%d containers run", len(all))
			}
			return err
		})
	})
	soon(t, "a container of service "+name, func() error {
		all, err := on.Engine.Client.ContainerList(t.Context(), ofService)
		if err == nil && len(all) != 1 {
			err = fmt.Errorf("%d containers run", len(all))
		}
		if err == nil {
			c.ID = all[0].ID[:12]
		}
		return err
	})
	if err := c.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// Swarm's routing mesh is in no container's inspect. Where its engine is a manager,
// a service's containers are told at their node's port; a worker says why not.
func (s *site) testMesh(t *testing.T, rack *Rack) {
	t.Helper()
	s.need(t, "overlay")
	for _, h := range s.hosts {
		h.Whoami(t, whoamiPort)
	}
	onManager := s.service(t, s.alpha, "manager", "meshweb", swarm.PortConfigPublishModeIngress, 8085)
	onWorker := s.service(t, s.beta, "worker", "meshfar", swarm.PortConfigPublishModeIngress, 8086)
	direct := s.service(t, s.beta, "worker", "meshless", swarm.PortConfigPublishModeHost, 8087)
	made := []*Container{onManager, onWorker, direct}
	for _, c := range made {
		c.Node.containers = append(c.Node.containers, c)
		t.Cleanup(func() { c.Node.containers = c.Node.containers[:len(c.Node.containers)-1] })
	}
	rack.Settle(t)
	// The mesh is IPVS's work.
	_, err := os.Stat("/proc/net/ip_vs")
	silent := err != nil
	if silent {
		t.Logf("what the mesh leads to is not dialled: this kernel has no IPVS (%v)", err)
	}
	at := []string{"192.0.2.2:8085"}
	s.checkTold(t, rack, []row{
		{"the mesh, from elsewhere", []string{"stranger", "outsider", "beta", "beta/apart"}, "alpha/meshweb 80/tcp", at, silent},
		{"the mesh, on its node", []string{"alpha", "alpha/apart"}, "alpha/meshweb 80/tcp", at, silent},
		{"the mesh, from an internal network", []string{"alpha/mate"}, "alpha/meshweb 80/tcp", nil, false},
		{"not the mesh", []string{"stranger", "alpha", "beta"}, "beta/meshless 80/tcp", []string{"192.0.2.3:8087"}, false},
	})
	for c, want := range map[*Container]string{
		onManager: "192.0.2.2:8085",
		onWorker:  "its engine is a worker of the swarm",
		direct:    "192.0.2.3:8087",
	} {
		if text := rack.Explained(t, c); !strings.Contains(text, want) {
			t.Errorf("explain %s says nothing of %q:\n%s", c, want, text)
		}
	}
	if err := rack.Agents[s.beta].says("its engine is a worker of the swarm"); err != nil {
		t.Errorf("the log of beta's agent: %v", err)
	}
}
